"""The command policy: what is allowed and what is refused, row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from opsuite_validation.commands import DEFAULT, judge
from opsuite_validation.environment import judge_environment

POLICY = replace(DEFAULT, roots=(Path("/home/user/project"), Path("/srv/app")))

ALLOWED = """
cargo build --release
cargo +nightly build
cargo test -- --nocapture
rustc -O main.rs
docker build -t my-app:latest .
docker run --rm -it -e A=b -p 80:80 app ls
docker push registry.example:5000/app:1
docker image ls
docker --version
/usr/bin/kubectl get pods
kubectl apply -f k8s/app.yaml -n prod
kubectl -n prod rollout status deployment/x
python -m pytest tests -q
python -m unittest discover -s tests
python -m pip install -r requirements.txt
python -Bm venv .venv
python -W error script.py
python -W -c script.py
python manage.py -c x
python --version
python3 -m build
python3 /home/user/project/x.py
pip install flask==1.0
git clone https://host.example/x.git dir
git clone ssh://git@host.example/x.git
git -C sub checkout v1.0
git worktree add -f dir v1
git commit -c HEAD
git log v1..v2
git --no-pager show HEAD
npm ci
npm run build -- --production
pnpm -r run build
yarn install --frozen-lockfile
make
make -j4 test
make VERSION=1.2 all
make -C sub all
make -C /home/user/project/sub
make LOG=/dev/null
cmake -S . -B build
cmake --build build -j 4
cmake -DCMAKE_BUILD_TYPE=Release .
gradle build
mvn clean install -DskipTests
mvn dependency:tree
go test -v ./...
go build -o bin/x ./cmd/x
go list -e ./...
go run ./cmd/x
systemctl --user restart x.service
systemctl status nginx
service nginx restart
service --status-all
terraform -chdir=infra apply -auto-approve
terraform plan -var=a=b
ansible all -m ping -i hosts
node server.js -e x
node --test
node --max-old-space-size=4096 x.js
deno task build
deno run -A main.ts
bun test
bun run ./x.ts
bun install
"""

REFUSED_ARGUMENTS = """
python -c x
python -cfoo
python -Bc x
python -BIc x
python -W ignore -c x
python -X -m -c y
python -i
python -i x.py
python --eval=x
python -m http.server
python -mhttp.server
python -m=pip
python -Im pdb x
python -m
python -m pip config edit --editor sh
python -m pip --python x install y
python3 -
python3 -uc x
pip install --pyth x y
pip config edit
node -e x
node --eval x
node --eval=x
node -pe x
node -p x
node --print x
node -i
node -c x
node -r y x.js
node --import=data:x y.js
node --test-reporter=data:x
node --inspect x.js
node inspect x.js
node data:text/javascript,x
node -
deno eval x
deno -e x
deno repl
deno run https://x/y.ts
deno run npm:x
deno run --import-map=data:x y.ts
deno task --eval x
deno install -g x
deno run --inspect x.ts
bun -e x
bun --eval=x
bun -p x
bun run sh
bun run build
bun exec ls
bun x foo
bun test --preload x
npm exec x
npm x y
npm --silent exec x
npm run node
npm run build --script-shell=x
npm install --script-shell=x
npm install --script-sh x
npm install -script-shell=x
npm --script-shell=x install
npm config set script-shell x
npm init x
pnpm sh
pnpm --dir install sh
pnpm exec x
pnpm dlx x
pnpm install --config.script-shell=x
yarn dlx x
yarn node x
yarn exec x
yarn create x
make SHELL=sh
make SHELL=/home/user/project/x
make .SHELLFLAGS=x
make MAKEFLAGS=x
make GNUMAKEFLAGS+=x
make CC=sh
make CC:=sh
make --eval=x
make --ev x
make -kE x
cmake -E env sh
cmake -DCMAKE_C_COMPILER=sh .
cmake -D CMAKE_MAKE_PROGRAM=sh .
cmake -DCMAKE_CXX_COMPILER_LAUNCHER=sh .
cmake --build b -- SHELL=sh
gradle -Dorg.gradle.jvmargs=-XX:OnError=sh
gradle -Pexec=sh build
mvn exec:exec -Dexec.executable=sh
mvn -D exec.executable=sh test
mvn org.x:y:1:z
mvn -Djvm=sh test
mvn test -DargLine=-XX:OnOutOfMemoryError=sh
go test -exec sh
go run -exec=sh .
go run x.example/y@latest
go build -toolexec=sh
go vet -vettool sh
go env -w CC=sh
go tool x
go build -ldflags=-extld=sh
cargo build --config x
cargo --config x build
cargo +stable --config x build
cargo foo
cargo rustc -- -Clinker=sh
rustc -C linker=sh x.rs
rustc -Clinker=sh x.rs
rustc @file
docker run --privileged x
docker run --privileged=true x
docker container run --privileged x
docker run -v data:x y
docker run -itv data:x y
docker run --volume=x y
docker run --mount type=bind,src=x,dst=y z
docker run --volumes-from x y
docker run --device=x y
docker run --pid=host x
docker run --pid host x
docker run --ipc=host x
docker run --net=host x
docker run --network host x
docker run --network=container:y x
docker run --cap-add=ALL x
docker run --cap-add ALL x
docker run --security-opt seccomp=unconfined x
docker run --use-api-socket x
docker create --privileged x
docker buildx build --allow network.host .
docker build --network=host .
docker compose up
docker exec c ls
docker -H tcp://x ps
docker --config x ps
docker volume create x
kubectl exec x
kubectl foo
kubectl run x
kubectl edit x
kubectl --kubeconfig x get pods
kubectl get --kubeconfig=x pods
kubectl config set-credentials x
kubectl kustomize --enable-exec x
git -c core.pager=x log
git -c alias.x=y x
git -calias.x=y x
git --exec-path=x log
git -p log
git --git-dir=x log
git clone -c x y
git clone -qc x y
git clone -u x y
git clone --config=x y
git clone --template=x y
git clone --upload-pack=x y
git clone --upl x y
git clone ext::sh
git clone fd::17
git clone ssh://-oProxyCommand=x/y
git fetch --upload-pack x
git push --receive-pack=x
git push --exec=x
git ls-remote --upload-pack=x y
git config x y
git bisect run x
git grep -Ox
git rebase --exec x
git submodule foreach x
git log --ext-diff
git commit --edit
git my-alias
systemctl edit x
systemctl -H x status y
systemctl status -qH x
systemctl enable ./x
systemctl start debug-shell
systemctl reboot
systemctl start reboot.target
service ../x start
service a/b start
service .x start
terraform console
terraform init -plugin-dir=x
terraform init --plugin-dir=x
ansible all
ansible all -a whoami
ansible all -m shell
ansible all -mshell
ansible all -m ping -m shell
ansible all -m ping -bm shell
ansible all -m ping --module-n shell
ansible all --module-name=command
ansible all -m ping -e x=y
ansible all -m ping --extra x=y
ansible all -m ping --ssh-common-args x
"""

OUTSIDE = """
make ../x
make ..
make -C ..
make -C../x
make a/../../x
make --directory=../x
make A=a,../x
make ..@x
make /etc/shadow
make ../../../etc/passwd
make -f/etc/passwd
make -f //etc/passwd
make A=/etc/shadow
make A=b,/etc/shadow
make x:/etc
make /home/user/project/../../x
make /home/user/projects
git clone file:///etc
npm install git+file:///etc
npm install x3+file://etc/x
cmake -DCMAKE_INSTALL_PREFIX=/usr
docker build -f /etc/x .
"""


def lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line]


def judged(line: str) -> list[tuple[str, str]]:
    command, *args = line.split()
    return [(found.field, found.reason) for found in judge(POLICY, command, args)]


@pytest.mark.parametrize("line", lines(ALLOWED))
def test_what_runs_the_projects_own_files_is_allowed(line: str) -> None:
    assert judged(line) == []


@pytest.mark.parametrize("line", lines(REFUSED_ARGUMENTS))
def test_arguments_that_start_a_program_of_the_callers_choice_are_refused(line: str) -> None:
    assert any(field.startswith("args[") for field, _ in judged(line))


@pytest.mark.parametrize("line", lines(OUTSIDE))
def test_arguments_that_leave_the_roots_are_refused(line: str) -> None:
    assert "OUTSIDE_ROOTS" in {reason for _, reason in judged(line)}


# The examples of the original design.


@pytest.mark.parametrize("command", ["cargo", "docker", "/usr/bin/kubectl"])
def test_the_programs_that_the_original_design_allows_are_allowed(command: str) -> None:
    assert judge(POLICY, command, []) == []


@pytest.mark.parametrize("command", ["rm", "/bin/rm", "../../../bin/bash", "/home/mallory/kubectl"])
def test_the_programs_that_the_original_design_refuses_are_refused(command: str) -> None:
    assert [(v.field, v.reason) for v in judge(POLICY, command, [])] == [("command", "COMMAND_NOT_ALLOWED")]


@pytest.mark.parametrize("arg", ["rm -rf /; echo hacked", "$(cat /etc/passwd)", "file.txt && rm -rf /"])
def test_the_arguments_that_the_original_design_refuses_are_refused(arg: str) -> None:
    assert [(v.field, v.reason) for v in judge(POLICY, "make", ["ok", arg])] == [("args[1]", "ARGUMENT_REFUSED")]


@pytest.mark.parametrize("arg", ["build --release", "my-app:latest", "./target/release", "/home/user/project"])
def test_the_arguments_that_the_original_design_allows_are_allowed(arg: str) -> None:
    assert judge(POLICY, "make", [arg]) == []


def test_the_default_list_is_the_one_that_was_decided() -> None:
    decided = (
        "cargo rustc docker kubectl git npm yarn pnpm make cmake gradle mvn go python python3 pip node deno bun "
        "systemctl service terraform ansible"
    )
    assert set(decided.split()) == DEFAULT.allowed_names


@pytest.mark.parametrize(
    "command",
    [
        *("", "Make", "make ", "sh", "bash", "python3.11", "./make", "bin/make", "/opt/make", "/usr/bin/../bin/make"),
        *("//usr/bin/make", "/usr/bin/", "/usr/bin/./make", "make\n", "make\0"),
    ],
)
def test_a_program_is_judged_as_it_is_written(command: str) -> None:
    assert [v.field for v in judge(POLICY, command, [])] == ["command"]


@pytest.mark.parametrize("character", list(";&|`$()<>\n\r*?[]{}!~'\"\\\0"))
def test_no_argument_may_hold_a_character_that_a_shell_would_read(character: str) -> None:
    assert [v.reason for v in judge(POLICY, "make", [f"a{character}b"])] == ["ARGUMENT_REFUSED"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = judge(POLICY, "rm", ["a;b", "fine", "/etc"])
    assert [v.field for v in found] == ["command", "args[0]", "args[2]"]


def test_declared_references_are_harmless_until_they_are_filled() -> None:
    args = ["checkout", "v${version}"]
    assert judge(POLICY, "git", args, declared={"version"}) == []
    assert [v.field for v in judge(POLICY, "git", args, declared={"other"})] == ["args[1]"]
    assert [v.field for v in judge(POLICY, "git", ["checkout", "v1;x"])] == ["args[1]"]


def test_the_allow_list_is_configuration() -> None:
    narrow = replace(POLICY, allowed_names=frozenset({"just"}), trusted_directories=(Path("/opt/tools"),))
    assert judge(narrow, "just", ["-c", "x"]) == []
    assert judge(narrow, "/opt/tools/just", []) == []
    assert [v.field for v in judge(narrow, "make", [])] == ["command"]
    assert [v.field for v in judge(narrow, "/usr/bin/just", [])] == ["command"]


def test_without_roots_no_absolute_path_is_inside() -> None:
    assert [v.reason for v in judge(DEFAULT, "make", ["/srv"])] == ["OUTSIDE_ROOTS"]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV", "NODE_OPTIONS", "GIT_SSH_COMMAND", "MAKEFLAGS"])
def test_variables_that_start_programs_are_refused(name: str) -> None:
    assert [v.field for v in judge_environment(["APP_MODE", name])] == [f'env["{name}"]']


@pytest.mark.parametrize("name", ["APP_MODE", "PORT", "PYTHONPATH", "DATABASE_URL", "GITHUB_SHA", "ENVIRONMENT"])
def test_variables_of_applications_are_fine(name: str) -> None:
    assert judge_environment([name]) == []
