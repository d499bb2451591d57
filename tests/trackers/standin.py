"""A local stand-in of W&B's server: the calls that a dashboard and an agent make, answered in this process."""

from __future__ import annotations

import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any]
PROJECT = {
    "__typename": "Project",
    "id": "p1",
    "internalId": "p1",
    "name": "qnerf",
    "entityName": "me",
    "createdAt": "2026-01-01T00:00:00",
}


class StandIn:
    """views: by id, as they were last saved. saved: what was done, "new" or "renewed", and the view's name, in order. commands:
    what an agent is told at a heartbeat, by the states of its runs. sweep: the config of the one that there is, as YAML."""

    def __init__(self) -> None:
        self.views: dict[str, Answer] = {}
        self.saved: list[tuple[str, str]] = []
        self.unknown: list[str] = []
        self.sweep = ""
        self.commands: Callable[[Mapping[str, bool]], list[Answer]] = lambda states: []

    def answer(self, query: str, given: Answer) -> Answer:
        """The data of a GraphQL query."""
        [name] = re.findall(r"^\s*(?:query|mutation)\s+(\w+)", query)[:1] or [""]
        if name in ("UpsertView2", "upsertView"):
            return self._save(given)
        if name == "View":
            found = [view for view in self.views.values() if view["name"] == given["viewName"]]
            return {"project": {"allViews": {"edges": [{"node": view} for view in found]}}}
        if name == "SpecificReport":
            return {"view": self.views.get(given["reportId"])}
        if name == "ProjectInternalId":
            return {"project": PROJECT}
        if name == "GetProjects":
            return {
                "models": {
                    "pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False},
                    "edges": [{"node": {**PROJECT, "isBenchmark": False, "user": None}}],
                }
            }
        if name == "SweepWithRuns":
            return {"project": {"sweep": {"id": "s", "name": given["sweep"], "config": self.sweep, "runs": {"edges": []}}}}
        if name == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        if name == "Heartbeat":
            commands = self.commands(json.loads(given["runState"]))
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
        self.unknown.append(name or query)
        return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}

    def _save(self, given: Answer) -> Answer:
        identity = given.get("id") or b64encode(f"View:{len(self.views)}".encode()).decode().rstrip("=")
        self.saved.append(("renewed" if identity in self.views else "new", given["displayName"]))
        known = {key: given[key] for key in ("name", "displayName", "type", "description", "spec")}
        self.views[identity] = {"id": identity, **known, "project": PROJECT, "createdAt": None, "updatedAt": None}
        return {"upsertView": {"view": self.views[identity], "inserted": True}}


@contextmanager
def serve() -> Iterator[tuple[StandIn, dict[str, str]]]:
    """The server, and the environment of a process that takes it for W&B."""
    server = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/graphql":  # telemetry
                self.send_error(404)
                return
            asked = json.loads(body)
            text = json.dumps({"data": server.answer(asked["query"], asked.get("variables") or {})}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    own = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    address = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server, {**own, "WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "WANDB_SILENT": "true"}
    finally:
        listening.shutdown()
        listening.server_close()
