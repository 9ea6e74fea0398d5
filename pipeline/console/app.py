"""The console over HTTP: a WSGI application.

Reading needs no proof, so the console listens on this machine unless told otherwise. It answers
only to names that no other site can point at it, and its pages run nothing but its own scripts.
What changes something needs a bearer token in a header, which no other site can send.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound, Unauthorized
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from components.ingestion.rows import RowFault, parse_number
from models.errors import BadInput, DebutError, Refused, Unreachable
from pipeline.console.desk import Desk, Json
from pipeline.console.overview import overview
from pipeline.layout import CARDS
from serving.access.auth import Tokens

if TYPE_CHECKING:
    from pipeline.console.records import Records

PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A report brings its own style sheet in the page, and no script.
_REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_REPORT_NAME: Final = re.compile(r"[\w.:+-]+\.html", re.ASCII)
LARGEST_BODY: Final = 16_384
_DEFAULT_LENGTH: Final = 10
_WHOLE_NUMBER: Final = re.compile(r"-?\d{1,18}", re.ASCII)
_MISDIRECTED: Final = (
    "This console does not answer to the name {!r}, which another site could have. Ask for it as "
    "localhost, by an address or by the name of its machine."
)
_log = logging.getLogger(__name__)


class Actions(Protocol):
    """What the console may change: only of the state that the page has shown."""

    def promote(self, canary: int, reason: str) -> int:
        """Makes this canary the stable version, and returns its number."""

    def roll_back(self, version: str, newest: int, reason: str) -> int:
        """Pushes an earlier version again, after this newest one, and returns the new number."""


class Console:
    """The application; usable from several threads."""

    def __init__(
        self,
        desk: Desk,
        records: Callable[[], Records],
        *,
        reports: Path,
        actions: Actions | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """Reads the page.

        Args:
            desk: answers about products and customers.
            records: of the root; called when it is first needed, as its libraries take seconds.
            reports: folder of the reports.
            actions: None to change nothing.
            tokens: whom `actions` obeys; needed with them.
        """
        self._desk, self._records, self._reports = desk, records, reports
        self._actions, self._tokens = actions, tokens or Tokens(())
        self._page = {
            path.name: (_TYPES[path.suffix], path.read_bytes())
            for path in PAGE.iterdir()
            if path.suffix in _TYPES
        }
        self._routes = Map(
            [
                Rule("/", endpoint=self._file, methods=["GET"]),
                Rule("/<name>", endpoint=self._file, methods=["GET"]),
                Rule("/reports/<name>", endpoint=self._report, methods=["GET"]),
                Rule("/reports/cards/<name>", endpoint=self._card, methods=["GET"]),
                *(
                    Rule(f"/api/{name}", endpoint=self._asked(answer), methods=["GET"])
                    for name, answer in {
                        "status": self._status,
                        "items": self._items,
                        "users": self._users,
                        "product": self._product,
                        "customer": self._customer,
                        "overview": self._overview,
                    }.items()
                ),
                Rule("/api/promote", endpoint=self._promote, methods=["POST"]),
                Rule("/api/rollback", endpoint=self._roll_back, methods=["POST"]),
            ]
        )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answers one request."""
        request = Request(environ)
        request.max_content_length = LARGEST_BODY
        response = self._answer(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def warm(self) -> None:
        """Reads ahead what the first questions would wait for; raises as they would."""
        self._desk.warm()
        self._records().read()

    def _answer(self, request: Request) -> Response:
        if not _is_this_machine(request.host):
            return _json({"error": _MISDIRECTED.format(request.host)}, 421)
        try:
            endpoint, values = self._routes.bind_to_environ(request.environ).match()
            response: Response = endpoint(request, **values)
            return response
        except HTTPException as error:
            told = {"error": error.description or error.name}
            return _json(told, error.code or 500, error.get_headers())
        except BadInput as error:
            return _json({"error": str(error)}, 400)
        except Refused as error:
            return _json({"error": str(error)}, 409)
        except Unreachable as error:
            return _json({"error": str(error)}, 503)
        except DebutError as error:
            return _json({"error": str(error)}, 502)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            return _json({"error": "Internal error; start the console with --debug."}, 500)

    def _file(self, request: Request, name: str = "index.html") -> Response:
        if name not in self._page:
            raise NotFound("There is no such page.")
        kind, content = self._page[name]
        response = Response(content, content_type=kind, headers={"Cache-Control": "no-cache"})
        response.add_etag()
        return response.make_conditional(request)

    def _report(self, request: Request, name: str) -> Response:
        return self._handed_out(self._reports, name)

    def _card(self, request: Request, name: str) -> Response:
        return self._handed_out(self._reports / CARDS, name)

    def _handed_out(self, folder: Path, name: str) -> Response:
        file = folder / name
        if not _REPORT_NAME.fullmatch(name) or not file.is_file():
            raise NotFound("There is no such report.")
        return Response(
            file.read_bytes(),
            content_type=_TYPES[".html"],
            headers={"Content-Security-Policy": _REPORT_POLICY, "Cache-Control": "no-cache"},
        )

    def _asked(self, answer: Callable[[Mapping[str, str]], Json]) -> Callable[[Request], Response]:
        return lambda request: _json(answer(request.args))

    def _status(self, query: Mapping[str, str]) -> Json:
        return self._desk.status() | {"read_only": self._actions is None}

    def _items(self, query: Mapping[str, str]) -> Json:
        return self._desk.items(query.get("q", ""), _number(query, "version"))

    def _users(self, query: Mapping[str, str]) -> Json:
        return self._desk.users(query.get("q", ""), _number(query, "version"))

    def _product(self, query: Mapping[str, str]) -> Json:
        k, version = _length(query), _number(query, "version")
        if "item" in query:
            return self._desk.product(query["item"], k=k, version=version)
        return self._desk.new_product(
            query.get("title", ""),
            category=query.get("category", ""),
            brand=query.get("brand", ""),
            description=query.get("description", ""),
            price=_price(query.get("price", "")),
            k=k,
            version=version,
        )

    def _customer(self, query: Mapping[str, str]) -> Json:
        return self._desk.customer(
            query.get("user", ""),
            k=_length(query),
            new_only=query.get("new_only", "") == "1",
            version=_number(query, "version"),
        )

    def _overview(self, query: Mapping[str, str]) -> Json:
        told = overview(*self._records().read())
        for version in told["versions"]:
            version["has_card"] = (self._reports / CARDS / f"{version['version']}.html").is_file()
        return told

    def _promote(self, request: Request) -> Response:
        actions, told = self._permitted(request)
        canary = _given_number(told, "version")
        return _json({"version": actions.promote(canary, told.get("reason", ""))})

    def _roll_back(self, request: Request) -> Response:
        actions, told = self._permitted(request)
        newest = _given_number(told, "newest")
        version = actions.roll_back(told.get("version", ""), newest, told.get("reason", ""))
        return _json({"version": version})

    def _permitted(self, request: Request) -> tuple[Actions, Mapping[str, str]]:
        """The actions, and the body's texts, where the request may change something."""
        if self._actions is None:
            raise Forbidden("This console only reads; `--auth-token-file` would change that.")
        if not self._tokens.accepts(request.headers.get("Authorization", "")):
            raise Unauthorized(
                "A valid token is required: one whose SHA-256 is in the file of tokens.",
                www_authenticate=WWWAuthenticate("bearer"),
            )
        told = request.get_json(force=True)
        if not isinstance(told, dict) or not all(isinstance(v, str) for v in told.values()):
            raise BadRequest("The body is a JSON object of texts.")
        return self._actions, told


def _is_this_machine(host: str) -> bool:
    """Whether a Host header names this machine as only somebody on the way to it can.

    A page of another site can let its own name point here, and would then be of the same origin
    (DNS rebinding). It can't do so with an address, nor with this machine's name.
    """
    name = re.sub(r":\d+$", "", host).strip("[]").lower().removesuffix(".")
    if name in ("localhost", socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not _WHOLE_NUMBER.fullmatch(text):
        raise BadRequest(f"{name} is {text!r}, which is no number.")
    return int(text)


def _given_number(told: Mapping[str, str], name: str) -> int:
    number = _number(told, name)
    if number is None:
        raise BadRequest(f"{name} is missing: what is changed names the version that was seen.")
    return number


def _price(text: str) -> float | None:
    if not text:
        return None
    try:
        price = parse_number(text, "price")
    except RowFault as fault:
        raise BadRequest(f"The price is {text!r}, which is no price: {fault.reason}.") from None
    if price < 0:
        raise BadRequest(f"The price is {text!r}, which is no price: it is 0 or more.")
    return price


def _length(query: Mapping[str, str]) -> int:
    k = _number(query, "k")
    return _DEFAULT_LENGTH if k is None else k


def _json(answer: Json, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False)
    response = Response(text, status, headers, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
