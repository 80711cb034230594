"""Requests to an OpenAI-compatible server: many at once, tried again, never paid for twice.

Chosen: the package `openai` carries one request, its own tries are off; what is tried again, and
after what pause, is decided here (exponential back-off with full jitter from a seeded generator,
`Retry-After` respected, 60 s at most), so that it can be tested without waiting. Every answer goes
to the cache as soon as it is there: whatever stops the work, the same work goes on from there. It
costs a thread for each request under way. Redirects are not followed, and a server of this machine
or this network is reached without a proxy: texts go where the recipe says and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from mulgil.errors import ModelError
from mulgil.models._endpoint_answers import Answer, BrokenAnswerError, Request, read_answer
from mulgil.models._endpoint_cache import AnswerCache, key_of
from mulgil.settings import one_line

LONGEST = 60.0
"""Seconds of a pause at most, whatever the server asks for."""

FIRST_PAUSE = 0.5
"""Seconds that the first pause may last; each one after it twice as many."""

_TRY_AGAIN = frozenset({408, 409, 429})

_NO_MODEL = re.compile(r"\bpinned to\b|\bmodel\b.{0,120}\b(not found|does not exist)", re.I)
"""How servers say, with a status of another meaning, that they do not have the model."""

Wait = Callable[[float, threading.Event], None]
"""Called with seconds, and what is set when the wait has become vain."""


class RefusedError(ModelError):
    """The server does not take such a request; another form of it may do.

    Attributes:
        told: what the server said.
        status: HTTP status.
    """

    def __init__(self, message: str, told: str, status: int) -> None:
        super().__init__(message)
        self.told = told
        self.status = status


class GivenUpError(ModelError):
    """No try brought an answer.

    Attributes:
        status: HTTP status of the last one, 0 for none.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _FailedError(Exception):
    """This try failed in a way that the next one may not; `pause` is what the server asks for."""

    def __init__(self, message: str, pause: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.pause = pause
        self.status = status


class _VainError(Exception):
    """Another request of the same batch has failed for good."""


def _waited(seconds: float, vain: threading.Event) -> None:
    vain.wait(seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """How a server is asked.

    Attributes:
        url: base address, without a slash at its end.
        model: the model's name there.
        host: of the address, for messages.
        local: whether the server is this machine's or this network's, and no proxy is between.
        variable: name of the environment variable with the key, for messages.
        concurrency: requests under way at most.
        per_minute: requests a minute at most, None for as many as there are answers.
        timeout: seconds without a byte after which a try has failed.
        retries: tries after the first.
    """

    url: str
    model: str
    host: str
    local: bool
    variable: str
    concurrency: int
    per_minute: int | None
    timeout: float
    retries: int


class Client:
    """Asks one model of one server.

    Args:
        rules: how.
        key: goes into the requests' header, and nowhere else.
        cache: what was answered before; None keeps nothing.
        seed: of the pauses.
        pause: waits; tests give one that does not.

    Attributes:
        usage: requests (sent, later tries included), cached (answers that were not asked for),
            retried (later tries), prompt_tokens and completion_tokens (that the server counted).

    Raises:
        ModelError: the package is not installed.
    """

    def __init__(
        self, rules: Rules, key: str, cache: AnswerCache | None, seed: int, pause: Wait = _waited
    ) -> None:
        self.rules = rules
        self.cache = cache
        self.usage = dict.fromkeys(
            ("requests", "cached", "retried", "prompt_tokens", "completion_tokens"), 0
        )
        self._key = key
        self._pause = pause
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._next = 0.0  # when the next request may leave
        self._openai, self._line = _opened(rules, key)

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the answers, each in the place of its request; equal requests are sent once.

        Raises:
            RefusedError: the server does not take a request.
            ModelError: the server is not there, or what it says makes no sense.
            StorageError: an answer cannot be kept.
        """
        rules = self.rules
        keys = [key_of(rules.url, rules.model, request.identity()) for request in requests]
        if self.cache is not None:
            self.cache.refresh()
        found: dict[str, Answer] = {}
        missing: dict[str, Request] = {}
        for key, request in zip(keys, requests, strict=True):
            if key not in found and key not in missing:
                kept = self._kept(key)
                if kept is None:
                    missing[key] = request
                    continue
                found[key] = kept
            self.usage["cached"] += 1
        if missing:
            found |= self._ask_all(missing)
        return [found[key] for key in keys]

    def _kept(self, key: str) -> Answer | None:
        return Answer.of(self.cache.get(key)) if self.cache is not None else None

    def _ask_all(self, missing: dict[str, Request]) -> dict[str, Answer]:
        """Ask with threads; the first failure lets no other request begin."""
        vain = threading.Event()
        pool = ThreadPoolExecutor(min(self.rules.concurrency, len(missing)), "mulgil-endpoint")
        try:
            running = {
                key: pool.submit(self._worked, key, request, vain)
                for key, request in missing.items()
            }
            wait(running.values(), return_when=FIRST_EXCEPTION)
        except BaseException:  # Ctrl-C: what is under way is not waited for
            vain.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown(wait=True, cancel_futures=vain.is_set())
        errors = [e for future in running.values() if (e := _failed(future)) is not None]
        if errors:
            raise next((e for e in errors if not isinstance(e, _VainError)), errors[0])
        return {key: future.result() for key, future in running.items()}

    def _worked(self, key: str, request: Request, vain: threading.Event) -> Answer:
        """Ask; a failure tells the other threads at once that it is one."""
        try:
            return self._answered(key, request, vain)
        except BaseException:
            vain.set()
            raise

    def _answered(self, key: str, request: Request, vain: threading.Event) -> Answer:
        """Ask until there is an answer, and keep it."""
        for number in range(self.rules.retries + 1):
            self._wait_for_turn(vain)
            if vain.is_set():
                raise _VainError
            with self._lock:
                self.usage["requests"] += 1
                self.usage["retried"] += number > 0
            try:
                answer = self._sent(request)
                break
            except _FailedError as error:
                if number == self.rules.retries:
                    told = self._given_up(number + 1, str(error))
                    raise GivenUpError(told, error.status) from error
                with self._lock:
                    pause = self._random.uniform(0, min(LONGEST, FIRST_PAUSE * 2**number))
                if error.pause is not None:
                    pause = min(LONGEST, error.pause)
                self._pause(pause, vain)
        with self._lock:
            self.usage["prompt_tokens"] += answer.paid[0]
            self.usage["completion_tokens"] += answer.paid[1]
        if self.cache is not None:
            self.cache.put(key, answer.plain())
        return answer

    def _wait_for_turn(self, vain: threading.Event) -> None:
        """Wait until `per_minute` lets the next request leave; they leave at equal distances."""
        if self.rules.per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 60.0 / self.rules.per_minute
        if turn > now:
            self._pause(turn - now, vain)

    def _sent(self, request: Request) -> Answer:
        """Send a request once.

        Raises:
            _FailedError: it may go better the next time.
            RefusedError: it will not, as it stands.
            ModelError: it never will.
        """
        openai = self._openai
        ask = self._line.chat if request.path == "chat" else self._line
        named: dict[str, Any] = {"messages": []} if request.path == "chat" else {"prompt": ""}
        try:
            found = ask.completions.with_raw_response.create(
                model=self.rules.model, **named, extra_body=request.body
            )
            raw = found.http_response.content
        except openai.APITimeoutError as error:
            told = f"no answer within {self.rules.timeout:g} s"
            raise _FailedError(told) from error
        except openai.APIConnectionError as error:
            raise _FailedError(self._told(str(error.__cause__ or error))) from error
        except openai.APIStatusError as error:
            raise self._judged(error) from error
        try:
            return read_answer(raw, request)
        except BrokenAnswerError as error:
            raise _FailedError(f"its answer cannot be read: {self._told(str(error))}") from error

    def _judged(self, error: Any) -> Exception:
        """Return what a status other than 200 means."""
        status, host, rules = int(error.status_code), self.rules.host, self.rules
        body = error.body if isinstance(error.body, dict) else {}
        told = self._told(str(body.get("message") or body.get("detail") or error.message))
        said = f"HTTP {status}: {told}"
        used_up = "insufficient_quota" in (body.get("code"), body.get("type"))
        passing = (status in _TRY_AGAIN or status >= 500) and status not in {501, 505}
        if passing and not used_up:
            return _FailedError(said, _retry_after(error.response.headers), status)
        if status in {401, 403}:
            return ModelError(
                f"model.key: {host} refuses the key ({said}); put one that is valid into the"
                f" variable {rules.variable}"
            )
        if used_up:
            return ModelError(f"model.key: {host}: {said}; {self._kept_so_far()}")
        if status in {400, 404, 405, 413, 415, 422, 501}:
            model = one_line(rules.model)
            remedy = (
                f'see that model.url is right and the server has the model "{model}"'
                if status in {404, 405, 501} or _NO_MODEL.search(told)
                else "shorten the texts (tokenizer.max_length), or set another model.mode"
            )
            return RefusedError(
                f"model.url: {host} refuses a request ({said}); {remedy}", told, status
            )
        moved = str(error.response.headers.get("location", ""))
        remedy = (
            f"it has moved to {self._told(moved)}: set model.url" if moved else "see its manual"
        )
        return ModelError(f"model.url: {host} does not answer as it should ({said}); {remedy}")

    def _told(self, text: str) -> str:
        """Return what somebody said, short, on one line, and without the key."""
        # A short key is no secret, and may be a part of any word.
        clean = text.replace(self._key, "***") if len(self._key) >= 8 else text
        clean = one_line(" ".join(clean.split()))
        return clean if len(clean) <= 200 else clean[:197] + "..."

    def _given_up(self, tries: int, told: str) -> str:
        times = "1 try" if tries == 1 else f"{tries} tries"
        return (
            f"model.url: {self.rules.host} gave no answer in {times} ({told});"
            f" {self._kept_so_far()}"
        )

    def _kept_so_far(self) -> str:
        if self.cache is None:
            return "no answers are kept, since model.cache is false; try again later"
        return (
            f"{len(self.cache):,} answers are kept in the cache, the same command goes on from"
            " there"
        )


def _failed(future: Future[Answer]) -> BaseException | None:
    """Return what a request ended with, None for an answer or while it runs."""
    if future.cancelled() or not future.done():
        return None
    return future.exception()


def _retry_after(headers: Any) -> float | None:
    """Return the seconds that the server asks to wait for; it says seconds, or a date."""
    value = str(headers.get("retry-after", "")).strip()
    with contextlib.suppress(ValueError, OverflowError):
        seconds = float(value)
        return max(0.0, seconds) if seconds < 1e9 else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _opened(rules: Rules, key: str) -> tuple[Any, Any]:
    """Return the package and its client.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise ModelError(
            'model "endpoint" needs openai; pip install "mulgil[endpoint]", or take model "decoder"'
        ) from error
    line = openai.OpenAI(
        api_key=key or "none",
        base_url=rules.url,
        timeout=rules.timeout,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(
            trust_env=not rules.local, follow_redirects=False, timeout=rules.timeout
        ),
    )
    # What the environment says of another account is no business of this server.
    line.organization = line.project = None
    return openai, line
