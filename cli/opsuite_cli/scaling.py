"""Scaling policies: apply, get, list, delete; what they do now; and what people do to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsuite_cli import (
    scaling_backtests,
    scaling_manifests,
    scaling_metrics,
    scaling_traces,
    scaling_watching,
    scaling_words,
    screen,
)
from opsuite_cli.deployments import duration
from opsuite_cli.importing import documents_in, text_of
from opsuite_cli.scaling_calls import Client, full, refuse, request_id, short, talk
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError, Violation

if TYPE_CHECKING:
    from opsuite.scaler.v1.decision_pb2 import Outcome, ScalingActivity
    from opsuite.scaler.v1.policy_pb2 import ScalingPolicy
    from opsuite.scaler.v1.scaler_service_pb2 import EvaluateSnapshotRequest

app = typer.Typer(no_args_is_help=True, help="Scaling: policies that size workloads, and why they do.")
Name = Annotated[str, typer.Argument(metavar="POLICY", help="Name of the policy.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]
For = Annotated[timedelta | None, typer.Option("--for", parser=duration, help="How long (30m); without it for good.")]
HEAD = ["POLICY", "TARGET", "REPLICAS", "METRICS", "MODE"]


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="Document with one policy or several.")],
    check: Annotated[bool, typer.Option("--check", help="Say what is wrong with it, and change nothing.")] = False,
) -> None:
    """Make the policies of a file so: new ones are created, known ones updated, whole."""
    policies = _policies_in(file)

    async def work(client: Client) -> list[tuple[str, ScalingPolicy]]:
        return [await _applied(client, policy, only_check=check) for policy in policies]

    done = talk(work)
    if not screen.wants_table():
        screen.document([policy for _, policy in done])
        return
    for what, policy in done:
        screen.say(f"policy {short(policy.name)}: {what}")


@app.command()
def get(name: Name) -> None:
    """Print a policy as a document."""
    from opsuite_cli.scaling_documents.document import written

    found = written(talk(lambda client: policy_of(client, name)))
    if not screen.wants_table():
        screen.write(found)
        return
    import yaml

    screen.say(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())


@app.command("list")
def list_(filter_: Annotated[str, typer.Option("--filter", help='Which: pool = "capacityPools/gpu".')] = "") -> None:
    """List the policies."""

    async def work(client: Client) -> list[ScalingPolicy]:
        from opsuite.scaler.v1.scaler_service_pb2 import ListScalingPoliciesRequest

        found: list[ScalingPolicy] = []
        request = ListScalingPoliciesRequest(page_size=1000, filter=filter_)
        while True:
            page = await client.scaler.ListScalingPolicies(request)
            found += page.policies
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    found = talk(work)
    if screen.wants_table():
        screen.table(HEAD, [scaling_words.policy_row(one) for one in found])
    else:
        screen.document(found)


@app.command()
def delete(name: Name) -> None:
    """Forget a policy; its target keeps the size that it has."""

    async def work(client: Client) -> None:
        from opsuite.scaler.v1.scaler_service_pb2 import DeleteScalingPolicyRequest

        request = DeleteScalingPolicyRequest(request_id=request_id(), name=full(name))
        await client.scaler.DeleteScalingPolicy(request)

    talk(work)
    screen.say(f"policy {short(name)}: deleted; its target keeps its size")


# --- steering --------------------------------------------------------------------------------------------------------


@app.command()
def pause(name: Name, for_: For = None, reason: Reason = "") -> None:
    """Keep the size as it is, whatever the metrics say."""

    async def work(client: Client) -> ScalingPolicy:
        from opsuite.scaler.v1.scaler_service_pb2 import PauseScalingRequest

        request = PauseScalingRequest(request_id=request_id(), name=full(name), reason=reason)
        _until(request.until, for_)
        return (await client.scaler.PauseScaling(request)).policy

    _print_mode(talk(work))


@app.command()
def resume(name: Name, reason: Reason = "") -> None:
    """Act on decisions again."""

    async def work(client: Client) -> ScalingPolicy:
        from opsuite.scaler.v1.scaler_service_pb2 import ResumeScalingRequest

        request = ResumeScalingRequest(request_id=request_id(), name=full(name), reason=reason)
        return (await client.scaler.ResumeScaling(request)).policy

    _print_mode(talk(work))


@app.command()
def mode(
    name: Name,
    wanted: Annotated[
        str, typer.Argument(metavar="MODE", help="active, dry_run, paused, scale_up_only or scale_down_only.")
    ],
    for_: For = None,
    reason: Reason = "",
) -> None:
    """Say what may be done with decisions."""

    async def work(client: Client) -> ScalingPolicy:
        from opsuite.scaler.v1.policy_pb2 import ScalingMode
        from opsuite.scaler.v1.scaler_service_pb2 import SetScalingModeRequest

        known = {one.removeprefix("SCALING_MODE_").lower(): one for one in ScalingMode.keys()[1:]}
        key = wanted.lower().replace("-", "_")
        if key not in known:
            raise InvalidInput([Violation("MODE", f"must be one of {', '.join(known)}")])
        request = SetScalingModeRequest(
            request_id=request_id(), name=full(name), mode=ScalingMode.Value(known[key]), reason=reason
        )
        _until(request.until, for_)
        return (await client.scaler.SetScalingMode(request)).policy

    _print_mode(talk(work))


@app.command("set")
def set_(
    name: Name,
    replicas: Annotated[int, typer.Argument(min=0, help="Size.")],
    for_: For = None,
    expect: Annotated[int | None, typer.Option(help="Refuse unless this is the size now.")] = None,
    reason: Reason = "",
) -> None:
    """Set the size by hand, and keep it for a time if one is given."""

    async def work(client: Client) -> ScalingActivity:
        from opsuite.scaler.v1.scaler_service_pb2 import SetDesiredCapacityRequest

        request = SetDesiredCapacityRequest(
            request_id=request_id(), name=full(name), replicas=replicas, expected_replicas=expect, reason=reason
        )
        _until(request.hold_until, for_)
        return (await client.scaler.SetDesiredCapacity(request)).activity

    _print_activity(talk(work))


# --- asking ----------------------------------------------------------------------------------------------------------


@app.command()
def evaluate(
    name: Name, act: Annotated[bool, typer.Option("--act", help="And do it, rather than only tell.")] = False
) -> None:
    """Decide now, and say why; nothing is changed without --act."""
    if act:
        _print_activity(talk(lambda client: _acted(client, name)))
        return

    async def work(client: Client) -> Outcome:
        from opsuite.scaler.v1.scaler_service_pb2 import EvaluateRequest

        return (await client.scaler.Evaluate(EvaluateRequest(name=full(name)))).outcome

    _print_outcome(talk(work))


@app.command("what-if")
def what_if(
    file: Annotated[
        Path, typer.Argument(help="Document with `policy` (its spec), `snapshot` and perhaps `state`, as JSON or YAML.")
    ],
) -> None:
    """Decide on a policy, a snapshot and a state that are given; no target is looked at."""
    try:
        request = _question(file)
    except OpsuiteError as error:
        refuse(error)

    async def work(client: Client) -> Outcome:
        return (await client.scaler.EvaluateSnapshot(request)).outcome

    _print_outcome(talk(work))


async def policy_of(client: Client, name: str) -> ScalingPolicy:
    """A policy. Raises NotFound, Unavailable."""
    from opsuite.scaler.v1.scaler_service_pb2 import GetScalingPolicyRequest

    return (await client.scaler.GetScalingPolicy(GetScalingPolicyRequest(name=full(name)))).policy


async def _acted(client: Client, name: str) -> ScalingActivity:
    from opsuite.scaler.v1.scaler_service_pb2 import EvaluateAndScaleRequest

    return (await client.scaler.EvaluateAndScale(EvaluateAndScaleRequest(name=full(name)))).activity


async def _applied(client: Client, policy: ScalingPolicy, *, only_check: bool) -> tuple[str, ScalingPolicy]:
    """Create or update a policy; what is wrong with it is told by its path in the document."""
    from opsuite.scaler.v1.scaler_service_pb2 import CreateScalingPolicyRequest, UpdateScalingPolicyRequest
    from opsuite_cli.scaling_documents.document import in_document

    try:
        if only_check:
            return await _checked(client, policy), policy
        try:
            known = await policy_of(client, policy.name)
        except NotFound:
            new = CreateScalingPolicyRequest(request_id=request_id(), policy=policy)
            return "created", (await client.scaler.CreateScalingPolicy(new)).policy
        if _says_the_same(known, policy):
            return "unchanged", known
        policy.etag = known.etag
        change = UpdateScalingPolicyRequest(request_id=request_id(), policy=policy)
        return "updated", (await client.scaler.UpdateScalingPolicy(change)).policy
    except InvalidInput as error:
        raise InvalidInput([in_document(one) for one in error.violations], reason=error.reason) from error


def _says_the_same(known: ScalingPolicy, policy: ScalingPolicy) -> bool:
    """Whether applying would change nothing; a mode is changed by commands, never by a document."""
    from opsuite_cli.scaling_documents.document import written

    before, after = written(known)["spec"], written(policy)["spec"]
    return {**before, "mode": None} == {**after, "mode": None}


async def _checked(client: Client, policy: ScalingPolicy) -> str:
    from opsuite.scaler.v1.scaler_service_pb2 import ValidateScalingPolicyRequest

    answer = await client.scaler.ValidateScalingPolicy(ValidateScalingPolicyRequest(policy=policy))
    if answer.violations:
        raise InvalidInput([Violation(one.field, one.description, one.reason) for one in answer.violations])
    return "nothing is wrong with it"


def _policies_in(file: Path) -> list[ScalingPolicy]:
    from opsuite_cli.scaling_documents.document import is_policy, policy_in

    try:
        found = [policy_in(one) for one in documents_in(text_of(file)) if is_policy(one)]
        if not found:
            raise InvalidInput([Violation("kind", "the file holds no ScalingPolicy")])
    except OpsuiteError as error:
        refuse(error)
    return found


def _question(file: Path) -> EvaluateSnapshotRequest:
    """A question of one's own. Raises InvalidInput, NotFound."""
    import json

    from google.protobuf.json_format import ParseDict, ParseError

    from opsuite.scaler.v1.scaler_service_pb2 import EvaluateSnapshotRequest

    documents = documents_in(text_of(file))
    if len(documents) != 1:
        raise InvalidInput([Violation("", "the file must hold one document")])
    form: dict[str, Any] = dict(documents[0])
    if isinstance(form.get("policy"), Mapping):
        form["policy"] = {"name": full("what-if"), **form["policy"]}
    if isinstance(form.get("state"), Mapping):
        form["state"] = json.dumps(form["state"])
    try:
        return ParseDict(form, EvaluateSnapshotRequest())
    except ParseError as error:
        raise InvalidInput([Violation("", str(error))]) from error


def _until(field: Any, for_: timedelta | None) -> None:
    if for_ is not None:
        field.FromDatetime(datetime.now(UTC) + for_)


def _print_mode(policy: ScalingPolicy) -> None:
    if screen.wants_table():
        screen.say(f"policy {short(policy.name)}: {scaling_words.mode(policy.mode)}")
    else:
        screen.document(policy)


def _print_activity(activity: ScalingActivity) -> None:
    if screen.wants_table():
        screen.say(scaling_words.decision(activity.decision))
        screen.say(
            f"  {activity.decision.message}" if activity.decision.message else f"  activity {short(activity.name)}"
        )
    else:
        screen.document(activity)


def _print_outcome(outcome: Outcome) -> None:
    if not screen.wants_table():
        screen.document(outcome)
        return
    screen.say(scaling_words.decision(outcome.decision), "bold")
    for one in outcome.steps:
        screen.say(scaling_words.step(one))


for module in (scaling_watching, scaling_manifests, scaling_metrics, scaling_backtests, scaling_traces):
    module.add_to(app)
