#!/usr/bin/env python3
"""Writes families.json: what llama.cpp writes for small conversations with the templates that it has by name.

    python3 families.py LLAMA_CPP > families.json

LLAMA_CPP is a source tree. Its `src/llama-chat.cpp` needs nothing else of it, so it is compiled alone, in seconds.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

# Reads a template's name, `0` or `1` for the header of an answer, and roles and contents in turn, all ended by NUL.
PROGRAM = r"""
#include "llama-chat.h"
#include "llama.h"
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main() {
    std::string in((std::istreambuf_iterator<char>(std::cin)), {});
    std::vector<std::string> parts;
    for (size_t at = 0, end; at < in.size(); at = end + 1) {
        end = in.find('\0', at);
        parts.push_back(in.substr(at, end - at));
    }
    if (parts.empty()) {
        const char * names[256];
        int count = llama_chat_builtin_templates(names, 256);
        for (int i = 0; i < count; i++) std::cout << names[i] << "\n";
        return 0;
    }
    std::vector<llama_chat_message> messages;
    std::vector<const llama_chat_message *> chat;
    for (size_t i = 2; i + 1 < parts.size(); i += 2) messages.push_back({parts[i].c_str(), parts[i + 1].c_str()});
    for (auto & message : messages) chat.push_back(&message);
    std::string text;
    auto of = llm_chat_template_from_str(parts[0]);
    if (llm_chat_apply_template(of, chat, text, parts[1] == "1") < 0) return 1;
    std::cout << text;
}
"""

SYSTEM, USER, ANSWER = ["system", " Be nice.\n"], ["user", "Hi there "], ["assistant", " Hello\n"]
MORE = ["user", "  two\nlines"]
CONVERSATIONS = [
    [USER],
    [SYSTEM, USER],
    [USER, ANSWER, MORE],
    [SYSTEM, USER, ANSWER, MORE, ANSWER, USER],
    [USER, ANSWER],
    [USER, MORE],
    [SYSTEM, SYSTEM, USER],
    [USER, ANSWER, ["tool", "42"], MORE],
    [["assistant_tool_call", "x"], ["user", ""]],
]


def main():
    tree = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "chat.cpp"), pathlib.Path(folder, "chat")
        source.write_text(PROGRAM)
        includes = [f"-I{tree / path}" for path in ("src", "include", "ggml/include")]
        subprocess.run(["c++", "-std=c++17", *includes, source, tree / "src/llama-chat.cpp", "-o", program], check=True)

        def told(parts):
            text = "".join(part + "\0" for part in parts)
            return subprocess.run([program], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()

        expected = {
            name: [told([name, header, *sum(turns, [])]) for turns in CONVERSATIONS for header in "01"]
            for name in told([]).split()
        }
    json.dump({"conversations": CONVERSATIONS, "expected": expected}, sys.stdout, ensure_ascii=False, indent=0)
    print()


main()
