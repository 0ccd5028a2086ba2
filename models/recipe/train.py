"""Training: Muon for the matrices, AdamW for the rest, planned by the time worked, resumable at any moment.

The learning rate falls linearly to zero over `minutes`, and the time spent is part of the checkpoint: a run that is stopped
goes on where it was. On a CPU the time spent is the processor time of this process, shared among its threads (see `clock`):
other programs on the machine delay the run, but it makes as many steps. On a CPU with AMX, bfloat16 autocast is several times
faster; elsewhere it is left off.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .model import SIZES, Llama, loss_of

WARMUP = 100  # steps
# To keep hero and thing is to copy from far back, which a model learns late. In the first part of training, a token that
# repeats an earlier one weighs more.
REPEATS_WEIGH, REPEATS_UNTIL = 4.0, 0.8  # factor; share of the time


def train(work: Path, size: str, minutes: float, batch: int, lr: float, threads: int, compiled: bool) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = device == "cuda" or torch.cpu._is_amx_tile_supported()
    rows = np.load(work / f"{size}-train.npy", mmap_mode="r")
    again = np.load(work / f"{size}-train-repeats.npy", mmap_mode="r")
    held = torch.from_numpy(np.load(work / f"{size}-held-out.npy")[:32].astype(np.int64)).to(device)
    held_again = torch.from_numpy(np.load(work / f"{size}-held-out-repeats.npy")[:32]).float().to(device)
    model = Llama(SIZES[size]).to(device)
    optimizers = make_optimizers(model, lr)
    folder = work / f"{size}-run"
    folder.mkdir(exist_ok=True)
    checkpoint, log = folder / "checkpoint.pt", folder / "log.jsonl"
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        step, spent = state["step"], state["spent"]
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(rows):,} rows, from step {step}, bf16 {half}")
    loss_fn = torch.compile(loss_of) if compiled else loss_of

    def save() -> None:
        torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step,
                    "spent": spent, "config": asdict(model.c)}, folder / "new.pt")
        (folder / "new.pt").replace(checkpoint)

    bar = tqdm(total=round(minutes * 60), initial=round(spent), unit="s", mininterval=5, smoothing=0)
    last, running = None, None
    while spent < minutes * 60:
        rate = min(1.0, (step + 1) / WARMUP) * max(0.0, 1 - spent / (minutes * 60))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * rate
        picked = rows_of_step(len(rows), step, batch)
        ids = torch.from_numpy(rows[picked].astype(np.int64)).to(device)
        factor = REPEATS_WEIGH if spent < REPEATS_UNTIL * minutes * 60 else 1.0
        weights = 1 + (factor - 1) * torch.from_numpy(again[picked]).float().to(device)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = loss_fn(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        # The first step includes compiling, and is not counted.
        now = clock(device, threads)
        spent += 0.0 if last is None else now - last
        last = now
        bar.n = round(spent)
        bar.set_postfix(step=step, loss=f"{running:.3f}", epoch=f"{step * batch / len(rows):.2f}")
        if step % 200 == 0 or spent >= minutes * 60:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=half):
                held_loss = loss_of(model, held, torch.ones(held.shape, device=device)).item()
                held_repeats = loss_of(model, held, held_again).item()
            with open(log, "a") as out:
                point = {"step": step, "spent": spent, "loss": running, "held": held_loss, "repeats": held_repeats}
                out.write(json.dumps(point) + "\n")
            tqdm.write(f"step {step}: loss {running:.4f}, held out {held_loss:.4f}, of that repeats {held_repeats:.4f}, "
                       f"{spent:.0f} s")
            save()
    bar.close()
    save()
    draw(log, folder / "loss.png")


def clock(device: str, threads: int) -> float:
    """Seconds of work. With threads that sleep while they wait (OMP_WAIT_POLICY=passive, set in __main__.py) processor time
    is work done, so it goes on neither while others have the cores nor while the process is stopped. Where only one thread
    has work it goes at 1/threads of the wall's pace: on idle cores a run takes somewhat longer by the wall."""
    return time.monotonic() if device == "cuda" else time.process_time() / threads


def rows_of_step(count: int, step: int, batch: int) -> np.ndarray:
    """They depend on the step alone: shuffled anew each epoch, the same after a resume."""
    per_epoch = count // batch
    epoch, at = divmod(step, per_epoch)
    return np.sort(np.random.default_rng(epoch).permutation(count)[at * batch : (at + 1) * batch])


def make_optimizers(model: Llama, lr: float) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "blk" in name]
    rest = [p for name, p in model.named_parameters() if p.dim() != 2 or "blk" not in name]
    made = [torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)]
    for optimizer in made:
        for group in optimizer.param_groups:
            group["base"] = lr
    return made


def draw(log: Path, picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    points = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot([p["step"] for p in points], [p["loss"] for p in points], label="training (running mean)")
    axes.plot([p["step"] for p in points], [p["held"] for p in points], label="held out")
    axes.plot([p["step"] for p in points], [p["repeats"] for p in points], label="held out, repeated tokens")
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
