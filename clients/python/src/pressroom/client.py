"""The clients: they drive flows (`effects.py`), and are all of this package that does I/O."""

import asyncio
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    Required,
    Self,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)
from uuid import UUID

import httpx

from pressroom import flows
from pressroom.effects import END, Emit, Flow, Json, Pull, Request, Stream, emit_return
from pressroom.errors import PressroomError
from pressroom.flows import Options, SubmitOptions
from pressroom.job import AsyncJob, AsyncResult, Job, Result
from pressroom.map_flow import start_map

T = TypeVar("T")
J = TypeVar("J", Job, AsyncJob)
Inputs: TypeAlias = Iterable[Json]
AnyInputs: TypeAlias = Inputs | AsyncIterable[Json]
RETRIES = 8  # some 45 s, which outlasts a gateway's restart
CONNECT_SECONDS = 5.0
# Each wait holds a connection: a pool that can be full would let them keep a submit out.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class MapOptions(Options, total=False):
    key: str | None  # with the index, each input's idempotency key
    in_flight: int  # how many may be unfinished at once; 1000
    progress: bool  # a bar on stderr, if that is a terminal; True
    return_exceptions: Literal[False]


class ExceptionOptions(Options, total=False):
    key: str | None
    in_flight: int
    progress: bool
    return_exceptions: Required[bool]  # as in asyncio.gather


class BaseClient(Generic[J]):
    """What both clients are made of.

    Args:
        base_url: of the gateway; PRESSROOM_URL if unset.
        key: an API key; PRESSROOM_KEY if unset.
        timeout: seconds for one request, not for a job.
        retries: how often a request is sent again; with 0, a busy gateway is an error at once.
        transport: httpx's, for proxies and tests.
    """

    _http_client: ClassVar[type[httpx.Client | httpx.AsyncClient]]
    _job: ClassVar[Any]

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        timeout: float = 30.0,
        *,
        retries: int = RETRIES,
        transport: Any = None,
    ) -> None:
        base_url = base_url or os.environ.get("PRESSROOM_URL") or ""
        if not base_url.startswith(("http://", "https://")):
            raise PressroomError(f"base_url or PRESSROOM_URL is an http(s) URL, not {base_url!r}")
        key = key or os.environ.get("PRESSROOM_KEY")
        if not key:
            raise PressroomError("neither key nor PRESSROOM_KEY is set")
        self._retries = retries
        self._timeout = timeout
        self._http: Any = self._http_client(
            base_url=base_url,
            transport=transport,
            limits=LIMITS,
            headers={"User-Agent": "pressroom-client", "Authorization": f"Bearer {key}"},
        )

    def job(self, job_id: str | UUID) -> J:
        """A job that was submitted before; no request is made."""
        job: J = self._job(self._run, str(job_id))
        return job

    def jobs(self, job_ids: Iterable[str | UUID]) -> list[J]:
        return [self.job(job_id) for job_id in job_ids]

    def _run(self, flow: Flow[Any], /) -> Any:
        raise NotImplementedError

    def _stream_of(self, request: Request) -> Any:
        """The request, as httpx streams its answer."""
        wait = self._timeout + request.wait_seconds
        return self._http.stream(
            request.method,
            request.path,
            content=request.content,
            params=request.params,
            headers=request.headers,
            timeout=httpx.Timeout(wait, connect=min(self._timeout, CONNECT_SECONDS)),
            follow_redirects=request.sink is not None,  # to a bucket, which is not told the key
        )


class Pressroom(BaseClient[Job]):
    """A client; threads may share it. `BaseClient` says what it takes."""

    _http_client = httpx.Client
    _job = Job

    def submit(self, endpoint: str, input: Json, **options: Unpack[SubmitOptions]) -> Job:
        """Hand a job in; once this returns, it is not lost.

        With the same `idempotency_key` and input within a day, it is the same job, whoever
        restarted in between.

        Raises:
            InvalidRequest: `problems` says what is wrong with it.
        """
        facts = self._run(flows.submit(endpoint, input, options))
        return Job(self._run, facts["id"], facts)

    def run(
        self,
        endpoint: str,
        input: Json,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Result:
        """`submit`, then `Job.result`."""
        return self.submit(endpoint, input, **options).result(timeout)

    def wait(self, job_id: str | UUID, timeout: float | None = None) -> Job:
        return self.job(job_id).wait(timeout)

    def as_completed(self, jobs: Sequence[Job], timeout: float | None = None) -> Iterator[Job]:
        """Each job when it has ended, whichever is first.

        Raises:
            WaitTimeout: some had not after `timeout` seconds, and go on.
        """
        return self._stream(flows.as_completed(jobs, timeout))

    @overload
    def map(
        self, endpoint: str, inputs: Inputs, **options: Unpack[MapOptions]
    ) -> Iterator[Result]: ...
    @overload
    def map(
        self, endpoint: str, inputs: Inputs, **options: Unpack[ExceptionOptions]
    ) -> Iterator[Result | PressroomError]: ...
    def map(self, endpoint: str, inputs: Inputs, **options: Any) -> Iterator[Any]:
        """The result for each input, in their order; `inputs` may be a generator without end.

        One that fails raises in its turn, and the others go on; with `return_exceptions`, it is
        given back instead. Nothing is pulled or submitted but while this is iterated.
        """
        steps = start_map(endpoint, inputs, lambda facts: Result(facts, self._run), options)
        return self._stream(steps, inputs)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: Flow[T], /) -> T:
        [value] = self._stream(emit_return(flow))
        return value

    def _stream(self, steps: Stream[T], inputs: Inputs = ()) -> Iterator[T]:
        source = iter(inputs)
        reply: object = None
        try:
            while True:
                step = steps.send(reply)
                reply = None
                if isinstance(step, Emit):
                    yield step.value
                elif isinstance(step, Request):
                    reply = self._send(step)
                elif isinstance(step, Pull):
                    reply = next(source, END)
                elif step.tries <= self._retries:
                    time.sleep(step.seconds)
                    reply = True
        except StopIteration:
            return
        finally:
            steps.close()

    def _send(self, request: Request) -> httpx.Response | httpx.RequestError:
        response: httpx.Response
        try:
            with self._stream_of(request) as response:
                if request.sink is None or not response.is_success:
                    response.read()
                    return response
                request.sink.restart()
                for chunk in response.iter_bytes():
                    request.sink.write(chunk)
                return response
        except httpx.RequestError as error:
            return error


class AsyncPressroom(BaseClient[AsyncJob]):
    """`Pressroom`, awaited; for one event loop."""

    _http_client = httpx.AsyncClient
    _job = AsyncJob

    async def submit(
        self, endpoint: str, input: Json, **options: Unpack[SubmitOptions]
    ) -> AsyncJob:
        facts = await self._run(flows.submit(endpoint, input, options))
        return AsyncJob(self._run, facts["id"], facts)

    async def run(
        self,
        endpoint: str,
        input: Json,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncResult:
        return await (await self.submit(endpoint, input, **options)).result(timeout)

    async def wait(self, job_id: str | UUID, timeout: float | None = None) -> AsyncJob:
        return await self.job(job_id).wait(timeout)

    def as_completed(
        self, jobs: Sequence[AsyncJob], timeout: float | None = None
    ) -> AsyncIterator[AsyncJob]:
        return self._stream(flows.as_completed(jobs, timeout))

    @overload
    def map(
        self, endpoint: str, inputs: AnyInputs, **options: Unpack[MapOptions]
    ) -> AsyncIterator[AsyncResult]: ...
    @overload
    def map(
        self, endpoint: str, inputs: AnyInputs, **options: Unpack[ExceptionOptions]
    ) -> AsyncIterator[AsyncResult | PressroomError]: ...
    def map(self, endpoint: str, inputs: AnyInputs, **options: Any) -> AsyncIterator[Any]:
        steps = start_map(endpoint, inputs, lambda facts: AsyncResult(facts, self._run), options)
        return self._stream(steps, inputs)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T], /) -> T:
        [value] = [value async for value in self._stream(emit_return(flow))]
        return value

    async def _stream(self, steps: Stream[T], inputs: AnyInputs = ()) -> AsyncIterator[T]:
        source = aiter(inputs) if isinstance(inputs, AsyncIterable) else iter(inputs)
        reply: object = None
        try:
            while True:
                step = steps.send(reply)
                reply = None
                if isinstance(step, Emit):
                    yield step.value
                elif isinstance(step, Request):
                    reply = await self._send(step)
                elif isinstance(step, Pull):
                    if isinstance(source, AsyncIterator):
                        reply = await anext(source, END)
                    else:
                        reply = next(source, END)
                elif step.tries <= self._retries:
                    await asyncio.sleep(step.seconds)
                    reply = True
        except StopIteration:
            return
        finally:
            steps.close()

    async def _send(self, request: Request) -> httpx.Response | httpx.RequestError:
        response: httpx.Response
        try:
            async with self._stream_of(request) as response:
                if request.sink is None or not response.is_success:
                    await response.aread()
                    return response
                request.sink.restart()
                async for chunk in response.aiter_bytes():
                    request.sink.write(chunk)
                return response
        except httpx.RequestError as error:
            return error
