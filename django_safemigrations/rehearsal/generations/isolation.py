"""Keeps the project's routers and signal receivers out of calls that are only tried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps.registry import Apps
from django.db import router
from django.db.models import signals

SIGNALS = (
    signals.pre_init,
    signals.post_init,
    signals.pre_save,
    signals.post_save,
    signals.pre_delete,
    signals.post_delete,
    signals.m2m_changed,
)

_here = threading.local()


class _Router:
    """Sends every query of some models to the alias that this thread works on."""

    def __init__(self, registries: Collection[Apps]) -> None:
        self.registries = registries

    def _is_ours(self, model: Any) -> bool:
        return any(model._meta.apps is apps for apps in self.registries)

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return getattr(_here, "alias", None) if self._is_ours(model) else None

    db_for_write = db_for_read

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool | None:
        return True if self._is_ours(first) and self._is_ours(second) else None


@contextmanager
def isolated(registries: Collection[Apps]) -> Iterator[None]:
    """Let no router and no receiver of the project see the models of some registries.

    A related manager asks the routers where to write, whatever the alias of its object: one of
    the project's could name another database. A receiver of all models' signals could send an
    email. Other models are routed and signalled as before, also in other threads.
    """
    ours = _Router(registries)
    # Django keeps the routers' list in a cached property; its __dict__ entry is the list.
    earlier = list(router.routers)
    router.routers = [ours, *earlier]
    muted = [(signal, vars(signal).get("send")) for signal in SIGNALS]
    for signal in SIGNALS:
        vars(signal)["send"] = _quiet(signal.send, ours)
    try:
        yield
    finally:
        for signal, send in muted:
            if send is None:
                del vars(signal)["send"]
            else:
                vars(signal)["send"] = send
        router.routers = earlier


def _quiet(send: Callable[..., Any], ours: _Router) -> Callable[..., Any]:
    def call(sender: Any, **named: Any) -> Any:
        return [] if hasattr(sender, "_meta") and ours._is_ours(sender) else send(sender, **named)

    return call


@contextmanager
def working_on(alias: str) -> Iterator[None]:
    """Send this thread's queries of isolated models to an alias."""
    earlier = getattr(_here, "alias", None)
    _here.alias = alias
    try:
        yield
    finally:
        _here.alias = earlier
