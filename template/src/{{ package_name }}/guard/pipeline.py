# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The guard: one pipeline around every call, whatever the backend, the transport and the era.

The stages, in order: limits on what comes in, rate, policy, calls in flight, audit record,
timeout, the call itself, limits on what goes out, audit record. Around all of them: no exception
reaches a client that was not meant for it.

Every use of the SDK that is provisional or private is in this file: its middleware, its three
managers and its low-level server.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import math
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import anyio
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    ToolError,
    UnexpectedResourceError,
    UnexpectedToolError,
)
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.resources import FunctionResource, Resource
from mcp.server.mcpserver.resources.templates import ResourceSecurityError
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from mcp.server.request_state import RequestStateBoundary
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    CallToolResult,
    GetPromptResult,
    Icon,
    InputRequiredResult,
    ToolAnnotations,
)
from mcp.types import Prompt as ListedPrompt
from mcp.types import Resource as ListedResource
from mcp.types import ResourceTemplate as ListedTemplate
from mcp.types import Tool as ListedTool
from mcp_types import SERVER_INFO_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import AnyUrl, BaseModel, ConfigDict, ValidationError, validate_call

from ..errors import Refused
from .audit import AuditError, AuditLog
from .faults import (
    Crash,
    contained,
    ends_task,
    invalid_arguments,
    property_names,
    sendable,
    shortened,
    unknown_names,
    wrong_types,
)
from .limits import Buckets, InFlight, excess
from .policy import Policy
from .redact import MAX_LIMITED, MAX_RECORDED, MAX_REFUSED, Redactor
from .settings import GuardSettings

log = logging.getLogger(__name__)

# The protocol's own requests: they run no code of a backend. Everything else is a call.
_PROTOCOL = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
    }
)
_CALLS = ("tools/call", "resources/read", "prompts/get", "completion/complete")
# Of the range that the specification leaves to servers, -32000 to -32019.
_NOT_NOW = -32010
# Parsers of clients give up soon after: pydantic's at 200 levels.
_MAX_RESULT_DEPTH = 128
_MAX_AUDIT_NAME = 128
_BEWARE = ". It may have taken effect: look before you repeat it"


@dataclass(slots=True)
class _Call:
    """One request: who makes it, what it is about, how it went.

    Attributes:
        id: correlation id, in both audit records, the log and the client's "reference".
        scopes: those of the caller's token; None where callers have none.
        name: registered name of the tool or prompt, URI or template of the resource.
        changes: whether it may change anything.
        arguments: what the audit log is to hold of them.
    """

    id: str
    method: str
    caller: str
    transport: str
    scopes: Collection[str] | None
    name: str = ""
    changes: bool = False
    arguments: object = None
    outcome: str = "ok"
    reason: str = ""


_current: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("call", default=None)


class _Stop(Exception):
    """A stage refuses the call, or what came of it.

    Args:
        code: of the JSON-RPC error. A tool's caller gets an error result instead, which a model
            can read, unless the request itself was wrong (INVALID_PARAMS).
    """

    def __init__(
        self, outcome: str, message: str, code: int = INVALID_PARAMS, data: object = None
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.code = code
        self.data = data


def _text(value: object) -> str:
    """A name in a request; nothing is registered under the empty one."""
    return value if isinstance(value, str) else ""


def _arguments(method: str, params: Mapping[str, Any]) -> object:
    """What the audit log is to say of a request's parameters."""
    if method in ("tools/call", "prompts/get"):
        return params.get("arguments")
    return {name: value for name, value in params.items() if name != "_meta"}


def _origin(error: BaseException) -> BaseException:
    """The exception that a registered function raised."""
    return error.__cause__ if isinstance(error, Crash) and error.__cause__ else error


def _changes(annotations: ToolAnnotations | None) -> bool:
    """Whether a tool may change something: yes, unless it is declared read-only."""
    return annotations is None or annotations.read_only_hint is not True


class _AsGiven(ArgModelBase):
    """Arguments of a tool that has a schema of its own, as they came in."""

    model_config = ConfigDict(extra="allow")

    def model_dump_one_level(self) -> dict[str, Any]:
        """Return them as the one argument of the function."""
        return {"arguments": dict(self.model_extra or {})}


class GuardedServer(MCPServer[None]):
    """An MCP server whose every call passes the guard.

    Args:
        name: the server's name.
        guard: limits and policy.
        audit: the log of calls; None to keep none. The caller closes it, and may set it until
            the first call.
        read_only: only tools that are declared read-only are listed and run.
        redactor: takes secrets out of audit records; knows those of the settings.
        options: those of `MCPServer`, without ``tools`` and ``resources``: they would be
            registered behind the guard's back.
    """

    def __init__(
        self,
        name: str,
        *,
        guard: GuardSettings,
        audit: AuditLog | None = None,
        read_only: bool,
        redactor: Redactor | None = None,
        **options: Any,
    ) -> None:
        if options.get("tools") or options.get("resources"):
            raise TypeError("register tools and resources with add_tool and add_resource")
        self._guard_settings = guard
        self.audit = audit
        self._read_only = read_only
        self._redactor = redactor if redactor is not None else Redactor()
        self._policy = Policy(
            allow=guard.allow, deny=guard.deny, scopes=guard.scopes, read_only=read_only
        )
        self._alias_of: dict[str, str] = {}
        self._buckets = Buckets(guard.rate, guard.burst)
        self._in_flight = InFlight(guard.max_in_flight)
        self._process = f"stdio/{os.getuid()}" if hasattr(os, "getuid") else "stdio"
        super().__init__(name, subscriptions=False, **options)
        # Before the SDK looks into the request's state and arguments, but inside its tracing,
        # so that spans hold what the client is told and not the exception behind it.
        places = [isinstance(item, RequestStateBoundary) for item in self.middleware]
        self.middleware.insert(places.index(True), self._guard)

    @property
    def redactor(self) -> Redactor:
        """What takes secrets out; a backend adds to it those that it comes by."""
        return self._redactor

    def hidden_tools(self) -> list[str]:
        """Tools that read-only hides for want of an annotation; worth a warning at the start."""
        return [
            tool.name
            for tool in self._tool_manager.list_tools()
            if self._read_only
            and (tool.annotations is None or tool.annotations.read_only_hint is None)
        ]

    def idle_globs(self) -> list[str]:
        """Globs of the policy that match nothing; worth a warning, for a slip opens a door."""
        return self._policy.idle(
            [
                *(tool.name for tool in self._tool_manager.list_tools()),
                *(prompt.name for prompt in self._prompt_manager.list_prompts()),
                *map(str, self._resource_manager._resources),
                *self._resource_manager._templates,
            ]
        )

    # --- Registering ------------------------------------------------------------------------

    def add_tool(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        annotations: ToolAnnotations | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        structured_output: bool | None = None,
        *,
        alias_of: str = "",
    ) -> None:
        """Register a tool, as in `MCPServer`; its schema says that it takes no other arguments.

        Args:
            alias_of: the tool of which this is another name: with it it shares the rate, and what
                is denied there or needs a scope is so here.

        Raises:
            ValueError: there is a tool of this name. The SDK would keep the first in silence.
            TypeError: it has a synchronous resolver, which no timeout could interrupt.
        """
        name = name or fn.__name__
        if self._tool_manager.get_tool(name) is not None:
            raise ValueError(f"there are two tools with the name {name!r}")
        super().add_tool(
            contained(fn, self._in_flight),
            name,
            title,
            description,
            annotations,
            icons,
            meta,
            structured_output,
        )
        tool = self._tool_manager._tools[name]
        if not all(plan.is_async for plan in tool.resolver_plans.values()):
            self.remove_tool(name)
            raise TypeError(f"the resolvers of the tool {name!r} have to be async functions")
        tool.parameters["additionalProperties"] = False
        if alias_of:
            self._alias_of[name] = alias_of

    def add_schema_tool(
        self,
        fn: Callable[[dict[str, Any]], Awaitable[Any]],
        *,
        name: str,
        parameters: Mapping[str, Any],
        title: str | None = None,
        description: str | None = None,
        annotations: ToolAnnotations | None = None,
    ) -> None:
        """Register a tool whose arguments are not those of a Python function, but of a schema.

        Names and plain types are checked against the schema's properties; the rest of the schema
        is the function's to check. It has no schema of its results, which would double a list of
        many such tools.

        Args:
            fn: is given the arguments as one dictionary, named ``arguments``.
            parameters: JSON Schema of an object.

        Raises:
            ValueError: there is a tool of this name.
        """
        self.add_tool(fn, name, title, description, annotations, structured_output=False)
        tool = self._tool_manager._tools[name]
        tool.parameters = {**parameters, "additionalProperties": False}
        tool.fn_metadata.arg_model = _AsGiven

    def add_prompt(self, prompt: Prompt) -> None:
        """Register a prompt, as in `MCPServer`."""
        function = getattr(prompt.fn, "raw_function", prompt.fn)
        checked = validate_call(contained(function, self._in_flight))
        super().add_prompt(prompt.model_copy(update={"fn": checked}))

    def add_resource(self, resource: Resource) -> None:
        """Register a resource, as in `MCPServer`."""
        if isinstance(resource, FunctionResource) and not inspect.iscoroutinefunction(resource.fn):
            resource.fn = contained(resource.fn, self._in_flight)
        super().add_resource(resource)

    def resource(self, uri: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        """Register a resource or resource template, as in `MCPServer`."""
        register = super().resource(uri, **options)

        def decorator(fn: Callable[..., Any]) -> Callable[..., Any]:
            register(contained(fn, self._in_flight))
            return fn

        return decorator

    def completion(self) -> Callable[[Callable[..., Any]], Any]:
        """Register the function that completes arguments, as in `MCPServer`."""
        register = super().completion()  # type: ignore[no-untyped-call]

        def decorator(fn: Callable[..., Any]) -> Callable[..., Any]:
            complete = contained(fn, self._in_flight)

            async def run(*args: Any) -> Any:
                try:
                    return await complete(*args)
                except (Crash, Refused, ToolError, ResourceError) as exc:
                    self._protocol_error(exc)

            register(run)
            return fn

        return decorator

    # --- Listing: what a caller may not use, it does not see ---------------------------------

    async def list_tools(self) -> list[ListedTool]:
        """The tools that the current caller may use."""
        tools = await super().list_tools()
        return [tool for tool in tools if self._may(tool.name, _changes(tool.annotations))]

    async def list_prompts(self) -> list[ListedPrompt]:
        """The prompts that the current caller may use."""
        return [prompt for prompt in await super().list_prompts() if self._may(prompt.name)]

    async def list_resources(self) -> list[ListedResource]:
        """The resources that the current caller may use."""
        return [item for item in await super().list_resources() if self._may(str(item.uri))]

    async def list_resource_templates(self) -> list[ListedTemplate]:
        """The resource templates that the current caller may use."""
        templates = await super().list_resource_templates()
        return [item for item in templates if self._may(item.uri_template)]

    def _may(self, name: str, changes: bool = False) -> bool:
        call = _current.get()
        return self._refusal(name, changes, call.scopes if call is not None else None) is None

    def _refusal(self, name: str, changes: bool, scopes: Collection[str] | None) -> str | None:
        """Why the policy does not let a registered name be used, or None when it does."""
        own = self._own_name(name)
        return self._policy.refusal(name, changes=changes, scopes=scopes, alias_of=own)

    def _own_name(self, name: str) -> str:
        """The name of what a registered name stands for; most stand for themselves."""
        return self._alias_of.get(name, name)

    # --- Running: what is raised becomes what the client may read ----------------------------

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Run a tool, as in `MCPServer`. A `ToolError` has the text for the client alone."""
        tool = self._tool_manager.get_tool(name)
        if tool is None:
            raise ToolError(f"Unknown tool: {shortened(name)}")
        properties = tool.parameters.get("properties", {})
        wrong = unknown_names(arguments, properties) or wrong_types(arguments, properties)
        if wrong is not None:
            self._note("invalid", "arguments")
            raise ToolError(wrong)
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as exc:
            text = self._explain(exc.__cause__ or exc)
        except ToolError as exc:
            # Only here is a validation error one about the arguments.
            text = self._explain(exc.__cause__ or exc, property_names(tool.parameters))
        raise ToolError(text)

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[None, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource, as in `MCPServer`. A `ResourceError` has the text for the client."""
        try:
            return await super().read_resource(uri, context)
        except ResourceNotFoundError as exc:
            self._note("refused", "not found")
            raise ResourceNotFoundError(sendable(str(exc))) from None
        except UnexpectedResourceError as exc:
            error = exc.__cause__ or exc
        except ResourceError as exc:
            error = exc
        registered = self._registered_uri(uri)
        template = self._resource_manager._templates.get(registered or "")
        names = template.parsed_template.variable_names if template is not None else ()
        text, origin = self._explain(error, names), _origin(error)
        if isinstance(origin, ResourceNotFoundError) or (
            isinstance(origin, Refused) and origin.code == "not_found"
        ):
            raise ResourceNotFoundError(text)
        raise ResourceError(text)

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[None, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """Render a prompt, as in `MCPServer`.

        Raises:
            MCPError: with the text for the client, whatever the reason.
        """
        prompt = self._prompt_manager.get_prompt(name)
        if prompt is None:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {shortened(name)}")
        fields = {item.name: item.required for item in prompt.arguments or ()}
        wrong = unknown_names(arguments or (), fields)
        missing = [field for field, required in fields.items() if required]
        missing = [field for field in missing if field not in (arguments or ())]
        if missing:
            wrong = f"invalid_arguments: {', '.join(missing)}: is required"
        if wrong is not None:
            self._note("invalid", "arguments")
            raise MCPError(INVALID_PARAMS, wrong)
        try:
            return await super().get_prompt(name, arguments, context)
        except MCPError:
            raise
        except ValueError as exc:
            # The SDK wraps what was raised twice.
            error = exc.__cause__ and exc.__cause__.__cause__
            self._protocol_error(error or exc, fields)

    def _protocol_error(self, error: BaseException, names: Collection[str] = ()) -> NoReturn:
        text = self._explain(error, names)
        wrong = isinstance(error, ValidationError) and text.startswith("invalid_arguments")
        raise MCPError(INVALID_PARAMS if wrong else INTERNAL_ERROR, text) from None

    def _note(self, outcome: str, reason: str) -> None:
        """Tell the audit log how the current call goes."""
        call = _current.get()
        if call is not None:
            call.outcome, call.reason = outcome, reason

    def _explain(self, error: BaseException, names: Collection[str] = ()) -> str:
        """What the client may read of an error that a function or the SDK raised.

        Args:
            names: fields of the arguments, where a validation error may be one about them.
        """
        origin = _origin(error)
        if isinstance(error, ValidationError):
            found = error.errors(include_url=False, include_context=False, include_input=False)
            if any(item["loc"] and item["loc"][0] in names for item in found):
                self._note("invalid", "arguments")
                return self._redactor.own(sendable(invalid_arguments(error, names)))
        if isinstance(origin, Refused):
            self._note("refused", str(origin))
        elif isinstance(origin, (ToolError, ResourceError)) and not isinstance(
            origin, (UnexpectedToolError, UnexpectedResourceError)
        ):
            self._note("error", str(origin))
        else:
            return self._crash(origin)
        return self._redactor.own(sendable(str(origin)))

    def _crash(self, error: BaseException) -> str:
        """Write an unexpected exception to the log; the client gets a reference to it."""
        call = _current.get()
        reference = call.id if call is not None else secrets.token_hex(6)
        what = f"{call.method} {call.name}" if call is not None else "call"
        log.error("%s failed, reference %s", what, reference, exc_info=error)
        self._note("error", f"internal error ({type(error).__name__})")
        return f"internal error, reference {reference}"

    # --- The pipeline ------------------------------------------------------------------------

    async def _guard(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        if ctx.request_id is None:
            # A notification has no answer; what it raises only reaches the log.
            return await call_next(ctx)
        call = self._identify(ctx)
        token = _current.set(call)
        try:
            if ctx.method in _PROTOCOL:
                return await call_next(ctx)
            return await self._checked(call, ctx, call_next)
        except _Stop as stop:
            return self._answer(stop, ctx)
        except MCPError as exc:
            raise self._sendable_error(exc) from None
        except ValidationError:
            raise MCPError(INVALID_PARAMS, "Invalid request parameters", "") from None
        except BaseException as exc:
            if ends_task(exc):
                raise
            raise MCPError(INTERNAL_ERROR, self._crash(exc)) from None
        finally:
            _current.reset(token)

    def _identify(self, ctx: ServerRequestContext[Any, Any]) -> _Call:
        """Who calls: by the verified token, else by the transport; by nothing the caller says."""
        token = get_access_token()
        http = ctx.request is not None
        scopes: Collection[str] | None = () if http else None
        caller = "http" if http else self._process
        if token is not None:
            scopes = token.scopes
            caller = f"{quote(token.client_id, safe='')}/{quote(token.subject or '', safe='')}"
        transport = "http" if http else "stdio"
        return _Call(secrets.token_hex(6), ctx.method, caller, transport, scopes)

    async def _checked(
        self, call: _Call, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        try:
            self._admit(call, dict(ctx.params or {}))
        except _Stop as stop:
            self._refuse(call, stop)
            raise
        try:
            self._record_start(call)
            return await self._run(call, ctx, call_next)
        finally:
            self._in_flight.leave()

    def _admit(self, call: _Call, params: dict[str, Any]) -> None:
        """All that is checked before a call runs. Afterwards it counts as in flight."""
        guard = self._guard_settings
        # Two levels more: the request around the arguments, and the plain values in them.
        problem = excess(params, guard.max_argument_bytes, guard.max_argument_depth + 2)
        if problem is not None:
            raise _Stop("refused", f"invalid_arguments: the request {problem}")
        refusal, known = self._resolve(call, params)
        # All that is unknown shares one bucket: names that do not exist are endless. Only what
        # has a token is looked at whole, or calls too many would cost as much as others.
        bucket = (call.caller, call.method, self._own_name(call.name))
        wait = self._buckets.take(bucket if known else call.caller)
        if wait:
            self._write_down(call, params, MAX_LIMITED)
            raise _Stop(
                "refused",
                f"rate_limited: at most {guard.rate:g} calls a second;"
                f" wait {math.ceil(wait * 100) / 100:g} s and try again",
                _NOT_NOW,
            )
        if refusal is not None:
            self._write_down(call, params, MAX_REFUSED)
            raise refusal
        if not self._write_down(call, params, MAX_RECORDED):
            self._write_down(call, params, MAX_REFUSED)
            raise _Stop(
                "refused",
                "too_large: the arguments do not fit into a record of the audit log; send fewer"
                " or shorter ones at once",
                _NOT_NOW,
            )
        if not self._in_flight.enter():
            raise _Stop(
                "refused",
                f"busy: {guard.max_in_flight} calls are running; wait for one to finish",
                _NOT_NOW,
            )

    def _write_down(self, call: _Call, params: Mapping[str, Any], budget: int) -> bool:
        """Fill in what the audit log is to hold of the arguments. False: not all of them fit."""
        if self.audit is None:
            return True
        arguments = _arguments(call.method, params)
        call.arguments, fits = self._redactor.arguments(arguments, budget)
        return fits

    def _resolve(self, call: _Call, params: dict[str, Any]) -> tuple[_Stop | None, bool]:
        """Find what the request is about; fills in the name of the call.

        Returns:
            Why it may not be used, if so; and whether there is such a thing at all.
        """
        method = call.method
        written, registered, call.changes = self._target(method, params)
        call.name = registered or self._redactor.text(written, _MAX_AUDIT_NAME)
        kind = method.partition("/")[0].removesuffix("s")
        if registered is None:
            served = self._lowlevel_server.get_request_handler(method) is not None
            if method not in _CALLS or not served:
                return _Stop("refused", "Method not found", METHOD_NOT_FOUND, method), False
            # The specification wants the URI of a resource that is not there in the error's data.
            uri = {"uri": written} if method == "resources/read" else None
            stop = _Stop("refused", f"Unknown {kind}: {shortened(written)}", data=uri)
            return stop, False
        why = self._refusal(registered, call.changes, call.scopes)
        if why is None:
            return None, True
        return _Stop("refused", f"denied: {kind} {shortened(written)}: {why}"), True

    def _target(self, method: str, params: dict[str, Any]) -> tuple[str, str | None, bool]:
        """What a request names, as written and as registered, and whether it may change things.

        Methods that an extension added are known by their own name.
        """
        if method == "tools/call":
            name = _text(params.get("name"))
            tool = self._tool_manager.get_tool(name)
            return (name, None, True) if tool is None else (name, name, _changes(tool.annotations))
        if method == "prompts/get":
            name = _text(params.get("name"))
            return name, self._registered_prompt(name), False
        if method == "resources/read":
            uri = _text(params.get("uri"))
            return uri, self._registered_uri(uri), False
        if method == "completion/complete":
            ref: Any = params.get("ref")
            if not isinstance(ref, dict):
                return "", None, False
            if ref.get("type") == "ref/prompt":
                name = _text(ref.get("name"))
                return name, self._registered_prompt(name), False
            uri = _text(ref.get("uri"))
            template = uri if uri in self._resource_manager._templates else None
            return uri, template or self._registered_uri(uri), False
        served = self._lowlevel_server.get_request_handler(method) is not None
        return method, method if served else None, True

    def _registered_prompt(self, name: str) -> str | None:
        return name if self._prompt_manager.get_prompt(name) is not None else None

    def _registered_uri(self, uri: AnyUrl | str) -> str | None:
        """URI or template under which a resource is registered, found in the SDK's own way."""
        uri = str(uri)
        manager = self._resource_manager
        if uri in manager._resources:
            return uri
        for template in manager.list_templates():
            try:
                if template.matches(uri) is not None:
                    return template.uri_template
            except ResourceSecurityError:
                return None
        return None

    async def _run(
        self, call: _Call, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        started = time.perf_counter_ns()
        try:
            result = await self._bounded(call, ctx, call_next)
        except BaseException as exc:
            self._judge(call, exc)
            self._record_end(call, started)
            raise
        if isinstance(result, dict):
            if result.get("isError") and call.outcome == "ok":
                call.outcome = "error"
            elif result.get("resultType") == "input_required":
                call.outcome = "input_required"
        if not self._record_end(call, started):
            raise _Stop(
                "refused",
                "audit: the call ran, but its end could not be recorded, so its result is"
                f" withheld{_BEWARE if call.changes else ''}",
                _NOT_NOW,
            )
        return result

    async def _bounded(
        self, call: _Call, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """The call itself, within its time and the size of its result."""
        guard = self._guard_settings
        result: HandlerResult = None
        with anyio.move_on_after(guard.timeout) as scope:
            result = await call_next(ctx)
        if scope.cancelled_caught:
            raise _Stop(
                "timeout",
                f"timeout: no answer within {guard.timeout:g} s; ask for less at once, such as"
                f" a smaller folder or fewer rows{_BEWARE if call.changes else ''}",
                REQUEST_TIMEOUT,
            )
        if isinstance(result, BaseModel):
            result = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        problem = excess(result, guard.max_result_bytes, _MAX_RESULT_DEPTH)
        if problem is not None:
            what = "too_large" if problem.startswith("is ") else "unsendable"
            raise _Stop(
                what,
                f"{what}: the result {problem}; ask for less or something else, such as a range"
                f"{_BEWARE if call.changes else ''}",
                _NOT_NOW,
            )
        clean: HandlerResult = self._redactor.own_values(result)
        return clean

    def _judge(self, call: _Call, exc: BaseException) -> None:
        """The outcome of a call that ended with an exception."""
        if isinstance(exc, _Stop):
            call.outcome, call.reason = exc.outcome, exc.message
        elif ends_task(exc):
            call.outcome, call.reason = "cancelled", ""
        elif call.outcome == "ok":
            call.outcome = "invalid" if isinstance(exc, ValidationError) else "error"
            call.reason = exc.message if isinstance(exc, MCPError) else type(exc).__name__

    # --- What is written and answered --------------------------------------------------------

    def _record_start(self, call: _Call) -> None:
        if not self._record(call, "start", {"arguments": call.arguments}):
            raise _Stop(
                "refused",
                "audit: the call was not run, because it could not be recorded",
                _NOT_NOW,
            )

    def _record_end(self, call: _Call, started: int) -> bool:
        microseconds = (time.perf_counter_ns() - started) // 1000
        end: dict[str, object] = {"outcome": call.outcome, "us": microseconds}
        if call.reason:
            end["reason"] = self._redactor.text(call.reason)
        return self._record(call, "end", end)

    def _refuse(self, call: _Call, stop: _Stop) -> None:
        """The only record of a call that did not run. It is refused whether or not it is kept."""
        reason = self._redactor.text(stop.message)
        end = {"arguments": call.arguments, "outcome": stop.outcome, "reason": reason}
        self._record(call, "refused", end)

    def _record(self, call: _Call, event: str, more: Mapping[str, object]) -> bool:
        """Write to the audit log. False: it failed, and the call must not go on."""
        if self.audit is None:
            return True
        about = {
            "event": event,
            "id": call.id,
            "caller": call.caller,
            "transport": call.transport,
            "method": call.method,
            "name": call.name,
        }
        try:
            self.audit.write({**about, **more})
        except AuditError:
            return not self.audit.fail_closed
        return True

    def _answer(self, stop: _Stop, ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
        """Tell the client of a refusal: where a model can read it, if the request was right."""
        if ctx.method != "tools/call" or stop.code in (INVALID_PARAMS, METHOD_NOT_FOUND):
            raise MCPError(stop.code, stop.message, stop.data) from None
        result: dict[str, Any] = {
            "content": [{"type": "text", "text": stop.message}],
            "isError": True,
        }
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # The SDK completes only what comes out of its own handlers.
            stamp = self._lowlevel_server.server_info_stamp
            result |= {"resultType": "complete", "_meta": {SERVER_INFO_META_KEY: stamp}}
        return result

    def _sendable_error(self, exc: MCPError) -> MCPError:
        """The error without this server's secrets and without what JSON cannot carry."""
        limit = self._guard_settings.max_result_bytes
        message = self._redactor.own(sendable(exc.message[:limit]))
        fits = excess([exc.data], limit, _MAX_RESULT_DEPTH) is None
        return MCPError(exc.code, message, exc.data if fits else None)
