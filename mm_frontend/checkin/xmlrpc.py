"""XML-RPC: calls as XML, parsed without entities, and answers. xmlrpc.client knows the format, defusedxml the traps."""

from __future__ import annotations

from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError
from xmlrpc.client import Error, Fault, Unmarshaller, dumps

from defusedxml.common import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser
from flask import Response

FAILED, UNKNOWN_METHOD = 1, 2  # codes of faults


class Call(NamedTuple):
    """Which method is called, with which values."""

    method: str
    values: tuple[Any, ...]


class NotACall(ValueError):
    """The body is no XML-RPC call."""


def parse(body: bytes) -> Call:
    """The call of a request's body. Raises NotACall."""
    unmarshaller = Unmarshaller(use_builtin_types=True)
    parser = DefusedExpatParser(unmarshaller, forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
        values = unmarshaller.close()
    except (ExpatError, Error, DefusedXmlException, ValueError, LookupError, TypeError, ArithmeticError):
        raise NotACall from None
    method = unmarshaller.getmethodname()
    if not isinstance(method, str):
        raise NotACall
    return Call(method, tuple(values))


def answer(value: Any) -> Response:
    """The result of a call."""
    return _xml((value,))


def fault(text: str, code: int = FAILED) -> Response:
    """A call that failed; the status is 200 nevertheless, as the specification has it and clients rely on."""
    return _xml(Fault(code, text))


def _xml(value: tuple[Any, ...] | Fault) -> Response:
    body = dumps(value, methodresponse=True)
    return Response(body, content_type="text/xml; charset=utf-8", headers={"Cache-Control": "no-store"})
