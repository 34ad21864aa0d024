"""Serving a dashboard: on loopback unless asked for otherwise, to browsers that ask for this host by its name."""

from __future__ import annotations

import re
import socket
import webbrowser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from asc_search.errors import AscSearchError, RunFolderError
from asc_search.progress import console
from asc_search.report.dashboard import Exhibit, dashboard_app
from asc_search.report.view import load_study
from asc_search.study.run_folder import RunFolder

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a page asks every few seconds."""


def is_loopback(host: str) -> bool:
    """Whether ``host`` is reached from this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, allow_remote: bool) -> None:
    """Refuse a ``host`` that others can reach, unless it was asked for.

    Raises:
        AscSearchError: with the risk, and what to do instead.
    """
    if is_loopback(host):
        return
    if not allow_remote:
        raise AscSearchError(
            f"--host {host}: optuna-dashboard has no login, so whoever reaches it can read, change and delete the study.\n"
            "Leave --host out and forward the port (ssh -L 8080:127.0.0.1:8080 THIS_MACHINE), or add --allow-remote."
        )
    console.print(
        f"warning: anyone who reaches {host} can read, change and delete this study: there is no login",
        style="yellow", markup=False, soft_wrap=True,
    )  # fmt: skip


def only_for(app: App, names: Iterable[str]) -> App:
    """``app`` for requests to one of ``names``: a web page elsewhere cannot reach it under a name of its own."""
    allowed = frozenset(names)

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        asked = re.sub(r":\d+$", "", environ.get("HTTP_HOST", "")).strip("[]")
        if asked.lower() in allowed:
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This dashboard answers to the address it was started on alone.\n"]

    return guarded


@contextmanager
def serving(run: RunFolder, storage: str | None, host: str, port: int) -> Iterator[tuple[WSGIServer, str]]:
    """A server on ``host`` and ``port`` (0: any that is free), bound but not yet serving, and its address for a browser.

    Raises:
        RunFolderError: the run has no study yet, or its database cannot be opened.
        AscSearchError: the port cannot be had, or the installed optuna-dashboard cannot be used.
    """
    study = load_study(run, storage)
    if study is None:
        raise RunFolderError(
            f"{run.root}: the search has not begun, so there is no study to show; wait for its teachers"
        )
    with dashboard_app(Exhibit(run, study)) as app:
        names = (*LOCAL_NAMES, host.lower())
        served = only_for(app, names) if is_loopback(host) else app
        try:
            server = make_server(
                host, port, served, server_class=_Server6 if ":" in host else _Server, handler_class=_Quiet
            )
        except OSError as error:
            raise AscSearchError(
                f"--host {host} --port {port}: cannot be listened on ({error.strerror}); try another --port, or 0 for a free one"
            ) from None
        shown = f"[{host}]" if ":" in host else host
        with server:
            yield server, f"http://{shown}:{server.server_port}/dashboard/studies/{study._study_id}"


def serve_dashboard(
    run: RunFolder, storage: str | None, host: str, port: int, browser: bool, allow_remote: bool = False
) -> None:
    """Serve the dashboard of ``run`` until it is interrupted; the search goes on regardless.

    Raises:
        AscSearchError: what a person can mend.
    """
    check_host(host, allow_remote)
    with serving(run, storage, host, port) as (server, address):
        console.print(f"{run.root}: {address} (Ctrl-C closes it; a search goes on)", markup=False, soft_wrap=True)
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("dashboard closed")
