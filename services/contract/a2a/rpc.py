"""The JSON-RPC endpoint: the SDK's dispatcher behind our bounds, with nothing of an exception in any answer."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final

import a2a.server.routes  # noqa: F401 - first, for the SDK's modules import each other in a circle
from a2a.auth.user import User
from a2a.compat.v0_3.jsonrpc_adapter import JSONRPC03Adapter
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.jsonrpc_models import InvalidParamsError, InvalidRequestError, JSONRPCError
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
)
from a2a.utils.errors import A2AError, InternalError
from a2a.utils.task import apply_history_length
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from services.contract.a2a.executor import TICKET, Gate, log_internal_error
from services.contract.a2a.limits import INVALID_PARAMS, PARSE_ERROR, json_fault, parse_json, rpc_error
from services.contract.a2a.settings import Limits
from services.contract.a2a.tasks import TaskMemory

SEND_METHODS: Final = frozenset({"SendMessage", "SendStreamingMessage", "message/send", "message/stream"})


class Peer(User):
    """Whoever sent the request; tasks and contexts belong to it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        """Requests without a needed token never come this far."""
        return True

    @property
    def user_name(self) -> str:
        """The owner of what the peer creates."""
        return self._name


class CallContexts(DefaultServerCallContextBuilder):
    """Names the owner of each request and hands its ticket on to the executor."""

    def __init__(self, *, by_token: bool) -> None:
        self._by_token = by_token

    def build(self, request: Request) -> ServerCallContext:
        """The SDK's context, with the ticket the endpoint took for a send."""
        context = super().build(request)
        context.state[TICKET] = request.scope.get(TICKET)
        return context

    def build_user(self, request: Request) -> User:
        """The token's name, else the address; all of loopback is one owner."""
        if self._by_token:
            return Peer("token")
        return Peer(owner_of(request.client.host if request.client else ""))


def owner_of(address: str) -> str:
    """The owner that a peer address stands for."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address or "unknown"
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return "loopback" if mapped.is_loopback else str(mapped)


@contextmanager
def _discreet() -> Iterator[None]:
    """The SDK sends the text of any exception to the peer; what leaves here is its own errors or a reference."""
    try:
        yield
    except A2AError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary towards the peer
        raise InternalError(message=log_internal_error("request_failed", error)) from None


class Handler(DefaultRequestHandlerV2):
    """The SDK's handler, discreet about errors, giving tasks back their history."""

    task_store: TaskMemory

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        """GetTask."""
        with _discreet():
            found: Task | None = await super().on_get_task(params, context)
            return found

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """ListTasks."""
        with _discreet():
            found: ListTasksResponse = await super().on_list_tasks(params, context)
            return found

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """CancelTask."""
        with _discreet():
            found: Task | None = await super().on_cancel_task(params, context)
            return found

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Message | Task:
        """SendMessage."""
        with _discreet():
            await self._find_home(params.message, context)
            answer: Message | Task = await super().on_message_send(params, context)
            if isinstance(answer, Task):
                return apply_history_length(self.task_store.whole(answer), params.configuration)
            return answer

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """SendStreamingMessage."""
        with _discreet():
            await self._find_home(params.message, context)
            async with aclosing(super().on_message_send_stream(params, context)) as events:
                async for event in events:
                    yield event

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """SubscribeToTask. The first event is the task with all the history a late listener missed."""
        with _discreet():
            async with aclosing(super().on_subscribe_to_task(params, context)) as events:
                async for event in events:
                    yield self.task_store.whole(event) if isinstance(event, Task) else event

    async def _find_home(self, message: Message, context: ServerCallContext) -> None:
        """A message that names only its task is said in the task's context; the SDK 1.3 would make up another."""
        if message.task_id and not message.context_id:
            message.context_id = await self.task_store.context_of(message.task_id, context)


class _Adapter03(JSONRPC03Adapter):
    """Answers -32602 for bad params; the SDK says -32600, though the envelope was checked before it came here."""

    def _generate_error_response(self, request_id: str | int | None, error: Exception | JSONRPCError) -> JSONResponse:
        if isinstance(error, InvalidRequestError):
            error = InvalidParamsError(data=error.data)
        return super()._generate_error_response(request_id, error)


class Dispatcher(JsonRpcDispatcher):
    """Both dialects, chosen by method name."""

    def __init__(self, handler: Handler, contexts: CallContexts, *, grace_s: int) -> None:
        super().__init__(handler, contexts, enable_v0_3_compat=True, shutdown_grace_period=grace_s)
        self._v03_adapter = _Adapter03(handler, contexts, shutdown_grace_period=grace_s)


class _ParsedRequest(Request):
    """A request whose body was parsed once, strictly."""

    def __init__(self, scope: Scope, receive: Receive, parsed: object) -> None:
        super().__init__(scope, receive)
        self._parsed = parsed

    async def json(self) -> Any:
        return self._parsed


def turned_away() -> Response:
    """The answer to one message too many, or to any while the server stops."""
    return PlainTextResponse("busy", 503, {"retry-after": "1"})


class Endpoint:
    """`POST /` as an ASGI app."""

    def __init__(self, dispatcher: Dispatcher, gate: Gate, limits: Limits) -> None:
        self._dispatcher = dispatcher
        self._gate = gate
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check what was sent, then let the SDK answer."""
        body = await Request(scope, receive).body()
        try:
            parsed = parse_json(body)
        except RecursionError:
            await rpc_error(INVALID_PARAMS, "nested too deeply")(scope, receive, send)
            return
        except ValueError:
            await rpc_error(PARSE_ERROR, "Parse error: not JSON")(scope, receive, send)
            return
        if isinstance(parsed, dict) and (fault := json_fault(parsed, self._limits)):
            await rpc_error(INVALID_PARAMS, fault, request_id=parsed.get("id"))(scope, receive, send)
            return
        request = _ParsedRequest(scope, receive, parsed)
        if not isinstance(parsed, dict) or parsed.get("method") not in SEND_METHODS:
            await self._answer(request, send)
            return
        async with self._gate.ticket() as ticket:
            if ticket is None:
                await turned_away()(scope, receive, send)
                return
            scope[TICKET] = ticket
            await self._answer(request, send)

    async def _answer(self, request: Request, send: Send) -> None:
        response = await self._dispatcher.handle_requests(request)
        await response(request.scope, request.receive, send)
