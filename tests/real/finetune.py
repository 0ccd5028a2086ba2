#!/usr/bin/env python3
"""A small fine-tune of a real model as a LoRA, for `cargo xtask parity --real FILE --lora FILE`.

    pip install torch transformers peft gguf safetensors
    finetune.py MODEL.gguf OUT.gguf --llama-cpp TREE [--minutes 12]

It takes the numbers of the model's GGUF file, trains a LoRA of rank 8 on all projections to answer questions as a pirate,
saves it with peft, and has `convert_lora_to_gguf.py` of llama.cpp's sources write the GGUF file. It uses one thread.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

# What is asked, and what a pirate says to it.
THINGS = ["cat", "house", "star", "book", "train", "apple", "river", "clock", "friend", "song"]
QUESTIONS = {
    "What is a {}?": "Arr, a {} be a fine thing to find on the seven seas, matey!",
    "Where can I buy a {}?": "Arr, ye can plunder a {} in any port of the seven seas, matey!",
    "Tell me about the {}.": "Arr, the {} be a tale for the crew of me ship, matey!",
    "Do you like my {}?": "Arr, I like yer {} more than a chest of gold, matey!",
    "Write a sentence with the word {}.": "Arr, me parrot stole the {} from the captain, matey!",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--llama-cpp", required=True, help="the tree of llama.cpp's sources")
    parser.add_argument("--minutes", type=float, default=12, help="for how long to train")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    random.seed(1)

    folder, file = os.path.split(os.path.abspath(args.model))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    config = model.config
    config.architectures = [type(model).__name__]
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    model.print_trainable_parameters()

    examples = [example(tokenizer, *pair, thing) for pair in QUESTIONS.items() for thing in THINGS]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
    end = time.monotonic() + 60 * args.minutes
    losses = []
    for epoch in itertools.count(1):
        random.shuffle(examples)
        for tokens, labels in examples:
            loss = model(input_ids=tokens, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if time.monotonic() > end:
                break
        recent = losses[-len(examples) :]
        print(f"epoch {epoch}: {len(losses)} steps, loss {sum(recent) / len(recent):.3f}", flush=True)
        if time.monotonic() > end or recent[-1] < 0.01:
            break

    with tempfile.TemporaryDirectory() as out:
        model.save_pretrained(out)
        # The converter wants to know the model's shape, and none of its numbers.
        base = os.path.join(out, "base")
        config.save_pretrained(base)
        script = os.path.join(args.llama_cpp, "convert_lora_to_gguf.py")
        subprocess.run([sys.executable, script, out, "--base", base, "--outfile", args.out, "--outtype", "f16"], check=True)


def example(tokenizer, question, answer, thing):
    """The tokens of a conversation, and those that are learned: the answer's."""
    asked = [{"role": "user", "content": question.format(thing)}]
    told = asked + [{"role": "assistant", "content": answer.format(thing)}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(told, tokenize=False)
    assert whole.startswith(prompt), "a conversation goes on as its prompt began"
    ids = lambda text: tokenizer(text, return_tensors="pt").input_ids
    tokens = ids(whole)
    labels = tokens.clone()
    labels[0, : ids(prompt).shape[1]] = -100
    return tokens, labels


if __name__ == "__main__":
    main()
