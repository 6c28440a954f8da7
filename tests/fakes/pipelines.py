"""Pipelines in the JSON form of the contract: `a_pipeline("hello", a_stage("build", a_command("make", "make")))`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from opsuite.deployer.v1 import pipeline_pb2

Form = dict[str, Any]
"""A part of a pipeline in the JSON form of the contract."""


def a_pipeline(name: str, /, *stages: Mapping[str, Any], **fields: Any) -> pipeline_pb2.Pipeline:
    """A pipeline for staging; by default of one stage with one step that ends well."""
    form = {"name": f"pipelines/{name}", "environments": ["staging"], "stages": list(stages) or [a_stage()]}
    return json_format.ParseDict(form | fields, pipeline_pb2.Pipeline())


def a_stage(name: str = "work", *steps: Mapping[str, Any], **fields: Any) -> Form:
    """A stage; by default of one step that ends well."""
    return {"name": name, "steps": list(steps) or [true()]} | fields


def a_command(name: str, command: str, *args: str, **fields: Any) -> Form:
    """A step that runs a program of the allow-list."""
    return {"name": name, "command": {"command": command, "args": args}} | fields


def true(name: str = "fine", **fields: Any) -> Form:
    """A step that ends well."""
    return a_command(name, "git", "--version", **fields)


def false(name: str = "broken", **fields: Any) -> Form:
    """A step that ends with status 1 or 2, and says why."""
    return a_command(name, "git", "cat-file", "-t", "nothing", **fields)


def a_script(name: str, path: str | Path, *args: str, **fields: Any) -> Form:
    """A step that runs a Python program which lies below the deployer's work directory."""
    return a_command(name, "python3", str(path), *args, **fields)


def a_docker(name: str, image: str, *command: str, **fields: Any) -> Form:
    """A step that runs a container; `docker` holds the rest of its message."""
    rest = fields.pop("docker", {})
    return {"name": name, "docker": {"image": image, "command": command} | rest} | fields


def a_wait(name: str = "wait", seconds: float = 3600, **fields: Any) -> Form:
    """A step that waits; by default longer than any test."""
    return {"name": name, "wait": {"duration": f"{seconds}s"}} | fields


def an_http_check(name: str, url: str, **fields: Any) -> Form:
    """A health check that asks often and gives up soon."""
    return {"name": name, "http": {"url": url}, "interval": "0.02s", "failureThreshold": 2, "timeout": "2s"} | fields


def a_gate(name: str, *checks: Mapping[str, Any], **fields: Any) -> Form:
    """A health gate."""
    return {"name": name, "checks": list(checks)} | fields
