"""Served models: any OpenAI-compatible API (HyperCLOVA X, vLLM, transformers serve).

Chosen: a model is its name at an address; the key stays in the environment, a recipe holds the
variable's name alone. Plain http is for this machine and private networks, everything else needs
https: prompts hold the user's texts. Answers are kept in the cache folder, so that nothing is paid
for twice; `_endpoint_cache` says what that means for privacy. It costs what the server asks for:
`price_in` and `price_out` make an estimate of it. What a server answers may change from day to
day; what is in the cache does not.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import pydantic

from mulgil import fetch, settings
from mulgil.contracts import Model
from mulgil.errors import ModelError
from mulgil.flow import Head, Kind, Skill
from mulgil.networks import Network

_TAKEN = frozenset({"model", "prompt", "messages", "stream", "n"})
"""Fields of a request that `extra` must not set."""


class EndpointSettings(settings.Settings):
    """Settings of a served model."""

    pretrained: str = pydantic.Field("", max_length=200)
    """The model's name at the server, such as "HCX-007"; must be given."""
    url: str = "http://127.0.0.1:8000/v1"
    """Base address of the API; http is for this machine and private addresses alone."""
    key: str = "OPENAI_API_KEY"
    """NAME of the environment variable that holds the key, in capitals; never the key itself."""
    mode: Literal["auto", "completions", "chat"] = "auto"
    """Which door is used: one that goes on with texts, one that answers messages, or the best."""
    concurrency: int = pydantic.Field(8, ge=1, le=256)
    """Requests under way at most."""
    per_minute: int | None = pydantic.Field(None, ge=1, le=1_000_000)
    """Requests a minute at most."""
    timeout: float = pydantic.Field(60.0, gt=0, le=3600)
    """Seconds without a byte after which a request is tried again."""
    retries: int = pydantic.Field(5, ge=0, le=20)
    """Tries after the first one, when the server is busy or not there."""
    cache: bool = True
    """Keep answers, which may hold the user's texts, in the cache folder."""
    price_in: float | None = pydantic.Field(None, ge=0, le=1e9)
    """Price of a million tokens that are read, in any currency."""
    price_out: float | None = pydantic.Field(None, ge=0, le=1e9)
    """Price of a million tokens that are written."""
    extra: dict[str, str | int | float | bool] = pydantic.Field({})
    """Further fields of each request, such as { reasoning_effort = "none" }."""

    @property
    def packages(self) -> tuple[str, ...]:
        return ("openai",)

    @pydantic.field_validator("url")
    @classmethod
    def _without_a_slash(cls, url: str) -> str:
        return url.rstrip("/")

    # A validator of the whole, since a field's own shows the value, which may be a secret.
    @pydantic.model_validator(mode="after")
    def _safe(self) -> EndpointSettings:
        problem = _problem(self.url)
        if problem:
            raise ValueError(f"url {problem}")
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.key):
            raise ValueError(
                "key must be the NAME of an environment variable, in capitals, such as"
                " OPENAI_API_KEY; if a key stands here, delete it from the recipe and put it into"
                " that variable"
            )
        wrong = sorted(_TAKEN & {*self.extra})
        if wrong:
            raise ValueError(f"extra must not set {', '.join(wrong)}")
        return self


class Endpoint(Model):
    """The family: everything happens at the server."""

    Settings: ClassVar[type[settings.Settings]] = EndpointSettings
    kind: ClassVar[Kind] = "endpoint"
    skills: ClassVar[frozenset[Skill]] = frozenset({"choose"})
    tokenizer: ClassVar[str] = "text"

    def source(self) -> None:
        """Return None: nothing of the model is on this machine.

        Raises:
            ModelError: the model has no name.
        """
        if not self.settings.pretrained.strip():
            raise ModelError(
                "model.pretrained is missing; give the model's name at the server, such as"
                ' "HCX-007" (GET /models lists those that there are)'
            )

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        """Return a network that asks the server; nothing is sent yet.

        Raises:
            ModelError: the model has no name, there is no key, or openai is not installed.
            StorageError: the cache cannot be opened.
        """
        self.source()
        from mulgil.models._endpoint import EndpointNetwork
        from mulgil.models._endpoint_cache import AnswerCache
        from mulgil.models._endpoint_client import Client, Rules

        chosen = self.settings
        host, local = _host(chosen.url)
        key = _key(chosen.key, host, loopback=_is_loopback(host))
        rules = Rules(
            chosen.url,
            chosen.pretrained,
            host,
            local,
            chosen.key,
            chosen.concurrency,
            chosen.per_minute,
            chosen.timeout,
            chosen.retries,
        )
        folder = fetch.cache_folder() / "endpoint"
        cache = AnswerCache(folder, chosen.url, chosen.pretrained) if chosen.cache else None
        return EndpointNetwork(Client(rules, key, cache, seed), chosen.mode, chosen.extra)

    def cost(self, usage: dict[str, int]) -> float | None:
        """Return what requests cost, in the currency of the prices; None without prices.

        Args:
            usage: of the network; answers from the cache cost nothing.
        """
        prices = (self.settings.price_in, self.settings.price_out)
        if prices == (None, None):
            return None
        counts = (usage["prompt_tokens"], usage["completion_tokens"])
        total: float = sum((p or 0.0) * n for p, n in zip(prices, counts, strict=True))
        return total / 1e6

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> NoReturn:
        """Refuse: a run in words is opened from its recipe.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            f"{folder}: a served model is not in the run's folder; open it with the run's recipe"
        )


def _problem(url: str) -> str | None:
    """Return why texts and a key may not be sent there, None where they may."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "must be an address such as https://host/v1"
    if parts.username is not None or parts.password is not None:
        return "must hold no user name and no password; put the key into the variable of model.key"
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        return "must be an address such as https://host/v1"
    if parts.scheme == "http" and not _is_local(host):
        return (
            f"must begin with https:// for the host {settings.one_line(host)[:60]} (http is for"
            " this machine and private addresses)"
        )
    return None


def _host(url: str) -> tuple[str, bool]:
    """Return an address's host, and whether it is reached without a proxy."""
    host = urllib.parse.urlsplit(url).hostname or ""
    return host, _is_local(host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    """Say whether a host is this machine, or an address of a private network."""
    if _is_loopback(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name may stand for any address
    return address.is_private and not (address.is_link_local or address.is_unspecified)


def _key(variable: str, host: str, *, loopback: bool) -> str:
    """Return the key that a variable holds; "" where none is needed.

    Raises:
        ModelError: there is none, or it cannot stand in a header; without the value.
    """
    found = os.environ.get(variable, "").strip()
    if not found and not loopback:
        raise ModelError(
            f"model.key: the environment variable {variable} is not set, and {host} needs a key;"
            f" export {variable}=..., or name another variable"
        )
    if not all("!" <= character <= "~" for character in found):
        raise ModelError(
            f"model.key: what {variable} holds is no key (a space, a line break or a letter"
            " outside ASCII stands in it); copy it again"
        )
    return found
