"""Documents of other systems as people write them, for importers. Together they hold most of what the formats know."""

from __future__ import annotations

from typing import Final

KAMAL: Final = """
x-common: &limits {memory: 512m, cpus: 0.5}
service: shop
image: acme/shop:1.4.2
registry:
  server: registry.example
  username: deploy
  password: [KAMAL_REGISTRY_PASSWORD]
servers:
  workers:
    hosts: [10.0.0.3]
    cmd: bin/jobs --queue "slow ones"
    options: *limits
    env:
      clear: {QUEUE: slow}
  web:
    hosts: [10.0.0.1, {10.0.0.2: [experiment]}]
    labels: {team: shop}
    options: {memory: 2g, cap-add: NET_ADMIN}
env:
  clear:
    DATABASE_HOST: db.internal
    WORKERS: 4
    GREETING: costs ${price}
  secret: [DATABASE_PASSWORD]
  tags:
    experiment: {NEW: "1"}
proxy:
  hosts: [shop.example, www.shop.example]
  app_port: 3000
  ssl: true
  response_timeout: 10
  healthcheck: {path: /health, interval: 3, timeout: 2}
boot: {limit: 50%, wait: 2}
deploy_timeout: 40
drain_timeout: 20
readiness_delay: 4
retain_containers: 3
require_destination: true
primary_role: web
builder: {arch: amd64}
ssh: {user: app}
accessories:
  db: {image: "postgres:16", host: 10.0.0.9}
aliases: {console: app exec -i}
volumes: ["/data:/data"]
hooks_path: .kamal/hooks
"""

ARGO_CANARY: Final = """
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: guestbook
  namespace: shop
  labels: {team: shop}
  uid: 3f0a
spec:
  replicas: 5
  minReadySeconds: 20
  progressDeadlineSeconds: 300
  progressDeadlineAbort: true
  revisionHistoryLimit: 3
  rollbackWindow: {revisions: 3}
  analysis: {successfulRunHistoryLimit: 10}
  selector:
    matchLabels: {app: guestbook}
  template:
    metadata:
      labels: {app: guestbook, tier: front}
      annotations: {note: kept}
    spec:
      terminationGracePeriodSeconds: 45
      serviceAccountName: guestbook
      volumes: [{name: cache, emptyDir: {}}]
      containers:
        - name: guestbook
          image: registry.example:5000/argoproj/guestbook:v3
          args: [serve, "--price=${x}"]
          imagePullPolicy: Always
          env:
            - {name: MODE, value: fast}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: token, key: token}}}
          ports:
            - {name: web, containerPort: 8080, protocol: TCP}
            - {containerPort: 9100}
          resources:
            limits: {cpu: 500m, memory: 256Mi}
            requests: {cpu: 500m, memory: 128Mi}
          readinessProbe:
            httpGet: {path: /ready, port: web}
            initialDelaySeconds: 5
            periodSeconds: 3
            failureThreshold: 2
          livenessProbe:
            tcpSocket: {port: 8080}
        - {name: sidecar, image: "proxy:1"}
  strategy:
    canary:
      canaryService: guestbook-canary
      stableService: guestbook-stable
      maxSurge: 20%
      maxUnavailable: 1
      dynamicStableScale: true
      scaleDownDelaySeconds: 60
      abortScaleDownDelaySeconds: 15
      canaryMetadata: {labels: {role: canary}}
      analysis:
        templates: [{templateName: success-rate}]
      trafficRouting:
        maxTrafficWeight: 1000
        managedRoutes: [{name: testers}]
        istio: {virtualService: {name: guestbook}}
        plugins:
          argoproj-labs/gatewayAPI: {httpRoute: guestbook, namespace: shop}
      steps:
        - setWeight: 50
        - pause: {duration: 1h}
        - setCanaryScale: {replicas: 3}
        - analysis: {templates: [{templateName: success-rate}]}
        - setHeaderRoute: {name: testers, match: [{headerName: x-test, headerValue: {exact: "1"}}]}
        - setWeight: 400
        - pause: {}
status: {phase: Healthy}
"""

ARGO_BLUE_GREEN: Final = """
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: checkout}
spec:
  replicas: 2
  selector: {matchLabels: {app: checkout}}
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: checkout, scaleDown: onsuccess}
  strategy:
    blueGreen:
      activeService: checkout
      previewService: checkout-preview
      autoPromotionEnabled: true
      autoPromotionSeconds: 30
      previewReplicaCount: 1
      scaleDownDelaySeconds: 90
      abortScaleDownDelaySeconds: 0
      scaleDownDelayRevisionLimit: 2
      postPromotionAnalysis: {templates: [{templateName: smoke}]}
      antiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout}
spec:
  replicas: 2
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      containers: [{name: checkout, image: "checkout:2.0", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: checkout}
spec: {ports: [{port: 80}]}
"""

FLAGGER_CANARY: Final = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: podinfo, namespace: test}
spec:
  provider: gatewayapi:v1
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: podinfo}
  progressDeadlineSeconds: 60
  skipAnalysis: false
  service:
    port: 80
    targetPort: 9898
    portName: http
    portDiscovery: true
    hosts: [app.example.com]
    gatewayRefs: [{name: gateway, namespace: infra}]
    retries: {attempts: 3}
  analysis:
    interval: 1m
    threshold: 5
    maxWeight: 50
    stepWeight: 20
    stepWeightPromotion: 100
    canaryReadyThreshold: 100
    primaryReadyThreshold: 50
    mirror: true
    mirrorWeight: 10
    match:
      - headers: {x-canary: {exact: insider}}
      - headers: {cookie: {regex: "^(.*?;)?(canary=always)(;.*)?$"}}
      - headers: {user-agent: {regex: ".*Firefox.*"}}
    metrics:
      - {name: request-success-rate, interval: 1m, thresholdRange: {min: 99}}
      - {name: request-duration, interval: 30s, thresholdRange: {max: 500}}
      - {name: queue, templateRef: {name: queue, namespace: flagger}, thresholdRange: {max: 10}}
    webhooks:
      - {name: ask, type: confirm-rollout, url: "http://gate.test/approve"}
      - {name: load, url: "http://loadtester.test/", timeout: 5s, metadata: {cmd: hey}}
    alerts:
      - {name: chat, severity: error, providerRef: {name: slack}}
    sessionAffinity: {cookieName: flagger, maxAge: 3600}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: podinfo}
spec:
  replicas: 3
  selector: {matchLabels: {app: podinfo}}
  template:
    metadata: {labels: {app: podinfo}}
    spec:
      containers:
        - name: podinfo
          image: stefanprodan/podinfo:6.0.0
          ports: [{name: metrics, containerPort: 9797}, {name: http, containerPort: 9898}]
          readinessProbe: {tcpSocket: {port: 9898}}
"""

FLAGGER_BLUE_GREEN: Final = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: podinfo}
spec:
  provider: kubernetes
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  service: {port: 9898}
  analysis:
    interval: 30s
    iterations: 10
    threshold: 1
    webhooks: [{name: ask, type: confirm-promotion, url: "http://gate.test/approve"}]
"""

ALL: Final = {
    "kamal": KAMAL,
    "argo_canary": ARGO_CANARY,
    "argo_blue_green": ARGO_BLUE_GREEN,
    "flagger_canary": FLAGGER_CANARY,
    "flagger_blue_green": FLAGGER_BLUE_GREEN,
}
