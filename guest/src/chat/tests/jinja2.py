#!/usr/bin/env python3
"""Renders chat templates with Jinja2, set up as transformers 5.24 sets it up (`apply_chat_template`).

    python3 jinja2.py FOLDER > expected.json

FOLDER has templates, `*.jinja`. The conversations are those of `conversations.json` beside this file. What is printed is an
object: for each template, by name, an array with one element for each conversation, which is the text, or an object with the
error. `templates.json` is that of `templates`, for the engine's tests; `cargo xtask parity --templates` asks for those of
llama.cpp.

It needs Jinja2 from PyPI, 3.1.6 or newer.
"""

import datetime
import json
import pathlib
import sys

# Not this file.
sys.path.pop(0)

from jinja2 import TemplateError, nodes  # noqa: E402
from jinja2.ext import Extension, loopcontrols  # noqa: E402
from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: E402

NOW = datetime.datetime(2025, 7, 10)
REASONING = ("reasoning_content", "thinking", "reasoning")


class Generation(Extension):
    """`{% generation %}` and what is in it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def message(given):
    """A message as a template gets it: without what is null, and with a reasoning under all of its names."""
    given = {key: value for key, value in given.items() if value is not None}
    reasoning = next((given[key] for key in REASONING if key in given), None)
    if reasoning is not None:
        given = {"thinking": reasoning, **given, "reasoning_content": reasoning}
    return given


def rendered(template, conversation):
    try:
        return template.render(
            messages=[message(given) for given in conversation["messages"]],
            add_generation_prompt=conversation["add_generation_prompt"],
            bos_token="<s>",
            eos_token="</s>",
            **{"tools": conversation.get("tools"), "documents": None, **conversation.get("variables", {})},
        )
    except Exception as error:  # Whatever stops a template.
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    here = pathlib.Path(__file__).parent
    conversations = json.loads((here / "conversations.json").read_text())
    env = environment()
    expected = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
        template = env.from_string(path.read_text())
        expected[path.stem] = [rendered(template, conversation) for conversation in conversations]
    json.dump(expected, sys.stdout, ensure_ascii=False, indent=0)
    print()


main()
