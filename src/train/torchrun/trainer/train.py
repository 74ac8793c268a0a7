"""Trains the model of a job folder with PyTorch, on as many processes and machines as torchrun starts.

    torchrun --nproc-per-node N trainer/train.py FOLDER [--workers N] [--amp auto|bf16|fp16|off]

FOLDER holds what `pqv finetune --engine torchrun` wrote: the model as TorchScript, the recipe, where the images lie. It
gets `checkpoint.pth`, from which a training that was stopped, or whose processes died, goes on, and in the end
`result.pth` with the weights. A batch of the recipe is divided among the processes, so that their number does not
change what is learned. The first process tells how far it is in lines of JSON after the word `pqv`.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

import images
import recipe

warnings.filterwarnings("ignore")
# Seconds between two looks at whether the process that started this is still there.
PATIENCE = 5
# For the other processes, after which this one gives up and all are started again.
LONGEST_WAIT = timedelta(minutes=10)
# Steps between two reports on an accelerator, which waits for each.
STEPS_A_REPORT = 10


class Failure(Exception):
    """What the user is told in a line."""


def tell(event: str, **figures) -> None:
    if dist.get_rank() == 0:
        print("pqv", json.dumps({"event": event, **figures}), flush=True)


class Training:
    """One training run in progress: the model, what trains it, how far it is."""

    def __init__(self, folder: Path, workers: int, amp: str):
        self.folder = folder
        self.job = json.loads((folder / "job.json").read_text())
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        on_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
        self.workers = self.job["workers"] or workers
        self.precision = precision_of(amp, on_gpu, self.job["qat"])
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.precision == torch.float16)
        self.model = torch.jit.load(folder / "model.pt", map_location=self.device).eval()
        self.parameters = dict(self.model.named_parameters())
        trained = {entry["key"] for entry in self.job["parameters"]}
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(name in trained)
        self.trained = {name: self.parameters[name] for name in sorted(trained)}
        buffers = dict(self.model.named_buffers())
        # What batch norms learn of the data. Each process has its own; the first one's are what counts.
        self.statistics = {name: buffers[name] for name in sorted(self.job["statistics"])}
        self.learned = {**self.trained, **self.statistics}
        self.ema = copies(self.learned) if self.job["emaDecay"] else None
        self.teacher = None
        if self.job["teacher"]:
            self.teacher = torch.jit.load(folder / "teacher.pt", map_location=self.device).eval()
        self.model.train(bool(self.statistics))
        self.optimizer = recipe.optimizer_of(self.job, self.parameters)
        self.parallel = torch.nn.parallel.DistributedDataParallel(
            self.model, device_ids=[self.device.index] if on_gpu else None, broadcast_buffers=False
        )
        self.at = {"step": 0, "epoch": 0, "batch": 0, "lossSum": 0.0, "correct": 0.0, "images": 0}
        self.history = {"steps": [], "epochs": []}
        self.best, self.best_weights = None, None
        # Loss, correct predictions and images of the batches since the last update; what updates are not reported yet.
        self.sums = 0
        self.pending = []
        self.saved = self.looked = time.monotonic()
        self.stopping = False
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(name, self.stop)

    def stop(self, *_) -> None:
        self.stopping = True

    def should_stop(self) -> bool:
        """Whether somebody asked for an end, or the process that started all this is gone."""
        if time.monotonic() - self.looked > PATIENCE:
            self.looked = time.monotonic()
            self.stopping = self.stopping or starter_is_gone()
        return self.stopping or (self.folder / "stop").exists()

    def autocast(self):
        return torch.autocast(self.device.type, self.precision) if self.precision else contextlib.nullcontext()

    # Checkpoints

    def load(self) -> None:
        path = self.folder / "checkpoint.pth"
        if not path.exists():
            return
        saved = torch.load(path, map_location=self.device, weights_only=True)
        if saved["digest"] != self.job["digest"]:
            raise Failure(f"{path} is of another job: remove it")
        with torch.no_grad():
            for name, value in saved["learned"].items():
                self.learned[name].copy_(value)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.ema = saved["ema"]
        self.at, self.history = saved["at"], saved["history"]
        self.best, self.best_weights = saved["best"], saved["bestWeights"]
        tell("resumed", epoch=self.at["epoch"], batch=self.at["batch"], history=self.history)

    def save(self) -> None:
        self.saved = time.monotonic()
        if self.rank > 0:
            return
        state = {
            "digest": self.job["digest"],
            "learned": {name: value.detach() for name, value in self.learned.items()},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema,
            "at": self.at,
            "history": self.history,
            "best": self.best,
            "bestWeights": self.best_weights,
        }
        written(state, self.folder / "checkpoint.pth")

    # Batches

    def loader(self, listing: str, prepare, places):
        channels = self.job["preprocessing"]["inputSize"][0]
        return torch.utils.data.DataLoader(
            images.Images(self.folder, listing, prepare, channels),
            batch_sampler=places,
            num_workers=self.workers,
            collate_fn=images.joined,
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.workers > 0,
        )

    def places(self):
        """What this process takes of each batch of the epoch that is still to come: index and key of each image."""
        job, epoch = self.job, self.at["epoch"]
        order = np.random.default_rng([job["seed"], epoch]).permutation(job["trainImages"])
        size, repeats = job["batchSize"], job["repeatedAugment"]
        for batch in range(self.at["batch"], job["batchesAnEpoch"]):
            positions = range(batch * size + self.rank, (batch + 1) * size, self.world)
            yield [(int(order[position // repeats]), job["seed"], epoch, position) for position in positions]

    # Training

    def run(self) -> bool:
        """Trains to the end. False where it was stopped before."""
        job = self.job
        prepare = images.training(job["preprocessing"], job["augment"])
        self.batches = self.loader("train.jsonl", prepare, Again(self.places))
        self.held_out = None
        while self.at["epoch"] < job["epochs"] and not self.has_settled():
            if not self.epoch():
                return False
        self.finish()
        return True

    def epoch(self) -> bool:
        job, at = self.job, self.at
        for batch in self.batches:
            at["batch"] += 1
            updates = at["batch"] % job["accumulate"] == 0
            self.step(batch, updates)
            last = at["batch"] == job["batchesAnEpoch"]
            if updates and (last or len(self.pending) >= (STEPS_A_REPORT if self.device.type == "cuda" else 1)):
                stopping, late = self.report()
                if not last and (stopping or late):
                    self.save()
                    if stopping:
                        tell("stopped", epoch=at["epoch"], batch=at["batch"])
                        return False
            if last:
                break
        at["epoch"] += 1
        record = {"epoch": at["epoch"], "loss": at["lossSum"] / max(1, at["images"])}
        if job["task"] == "classify":
            record["trainTop1"] = at["correct"] / max(1, at["images"])
        if job["evaluate"]:
            record["top1"] = self.measured()
            if self.best is None or record["top1"] > self.best["top1"]:
                self.best = {"epoch": at["epoch"], "top1": record["top1"]}
                if job["best"]:
                    self.best_weights = copies(self.weights())
        self.history["epochs"].append(record)
        tell("epoch", **record)
        at.update(batch=0, lossSum=0.0, correct=0.0, images=0)
        self.save()
        if self.agreed(self.should_stop()) and at["epoch"] < job["epochs"]:
            tell("stopped", epoch=at["epoch"], batch=0)
            return False
        return True

    def step(self, batch, updates: bool) -> None:
        job, at = self.job, self.at
        size = job["batchSize"]
        if batch is None:
            raise Failure("none of a batch's images can be read")
        pixels, labels = (part.to(self.device, non_blocking=True) for part in batch)
        draw = np.random.default_rng([job["seed"], at["epoch"], at["batch"], self.rank])
        classifies = job["task"] == "classify"
        if classifies:
            pixels, targets = recipe.mixed(job, pixels, labels, draw)
        waiting = contextlib.nullcontext() if updates else self.parallel.no_sync()
        with waiting:
            with self.autocast():
                outputs = recipe.floats(self.parallel(pixels, *recipe.kept_paths(job, len(pixels), draw, self.device)))
                with torch.no_grad():
                    taught = recipe.floats(self.teacher(pixels)) if self.teacher else []
            if classifies:
                loss, correct = recipe.classifying(job, outputs, targets, taught)
            else:
                loss, correct = recipe.matching(job, outputs, taught)
            # DistributedDataParallel takes the mean over the processes.
            self.scaler.scale(loss * (self.world / size / job["accumulate"])).backward()
        count = torch.tensor(float(len(pixels)), device=self.device)
        self.sums = self.sums + torch.stack([loss.detach(), correct.float(), count])
        if not updates:
            return
        lr = recipe.learning_rate(job, at["step"])
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["rate"]
        self.scaler.unscale_(self.optimizer)
        limit = job["clipNorm"] or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(list(self.trained.values()), limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            with torch.no_grad():
                torch._foreach_lerp_(list(self.ema.values()), list(self.learned.values()), 1 - job["emaDecay"])
        at["step"] += 1
        self.pending.append((at["step"], lr, self.sums, norm))
        self.sums = 0

    def report(self):
        """Says what the steps since the last report came to; whether to stop, and whether to save."""
        job, at = self.job, self.at
        sums = torch.stack([sums for _, _, sums, _ in self.pending])
        late = self.rank == 0 and time.monotonic() - self.saved > job["checkpointEvery"]
        flags = torch.tensor([[float(self.should_stop()), float(late), 0.0]], device=self.device)
        every = torch.cat([sums, flags])
        dist.all_reduce(every)
        norms = torch.stack([norm for *_, norm in self.pending]).tolist()
        *totals, (stopping, saving, _) = every.tolist()
        for (step, lr, _, _), (loss, correct, count), norm in zip(self.pending, totals, norms):
            mean = loss / max(1, count)
            if not np.isfinite(mean) or (not np.isfinite(norm) and not self.scaler.is_enabled()):
                what = "the gradients are not finite" if np.isfinite(mean) else f"the loss is {mean}"
                raise Failure(
                    f"training diverged: {what} in epoch {at['epoch'] + 1}, step {step}; the last good checkpoint is "
                    f"kept; lower the learning rate ({job['lr']})"
                )
            at["lossSum"] += loss
            at["correct"] += correct
            at["images"] += int(count)
            record = {"step": step, "epoch": at["epoch"] + 1, "loss": mean, "lr": lr, "gradNorm": norm}
            self.history["steps"].append(record)
            tell("step", **record, images=at["images"])
        self.pending = []
        return stopping > 0, saving > 0

    def agreed(self, flag: bool) -> bool:
        """Whether any process says so."""
        every = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(every)
        return every.item() > 0

    # Weights

    def weights(self) -> dict:
        return self.ema or self.learned

    @contextlib.contextmanager
    def having(self, weights: dict):
        """The model in evaluation mode with other weights, the first process's, for a while."""
        with torch.no_grad():
            kept = copies(self.learned)
            for name, value in weights.items():
                self.learned[name].copy_(value)
            for value in self.statistics.values():
                dist.broadcast(value, 0)
            self.model.eval()
            yield
            self.model.train(bool(self.statistics))
            for name, value in kept.items():
                self.learned[name].copy_(value)

    def measured(self) -> float:
        """Top-1 on the held-out images, each process taking its part."""
        job = self.job
        if self.held_out is None:
            mine = range(self.rank, job["heldOutImages"], self.world)
            parts = [[(index, 0) for index in mine[at : at + 64]] for at in range(0, len(mine), 64)]
            self.held_out = self.loader("heldout.jsonl", images.evaluation(job["preprocessing"]), parts)
        counts = torch.zeros(2, device=self.device)
        with self.having(self.weights()):
            for batch in self.held_out:
                if batch is None:
                    continue
                pixels, labels = (part.to(self.device) for part in batch)
                with self.autocast():
                    logits = recipe.floats(self.model(pixels, *self.every_path(len(pixels))))[0]
                counts += torch.stack([(logits.argmax(-1) == labels).sum(), torch.tensor(len(labels), device=self.device)])
        dist.all_reduce(counts)
        return (counts[0] / counts[1]).item()

    def every_path(self, count: int) -> list:
        return [torch.ones(count, 1, device=self.device) for _ in self.job["keeps"]]

    def has_settled(self) -> bool:
        patience = self.job["patience"]
        return patience is not None and self.best is not None and self.at["epoch"] - self.best["epoch"] >= patience

    def finish(self) -> None:
        """Writes the weights, and what the model makes of some numbers, by which they are checked."""
        weights = self.best_weights or self.weights()
        with self.having(weights), torch.no_grad():
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            shape = [2, *self.job["preprocessing"]["inputSize"]]
            sample = torch.randn(shape, generator=torch.Generator().manual_seed(20))
            output = recipe.floats(self.model(sample.to(self.device), *self.every_path(len(sample))))[0]
        if self.rank > 0:
            return
        (self.folder / "history.json").write_text(json.dumps({**self.history, "digest": self.job["digest"]}))
        tensors = {f"weights.{name}": value.detach().cpu() for name, value in weights.items()}
        written({**tensors, "check.input": sample, "check.output": output.cpu()}, self.folder / "result.pth")


def starter_is_gone() -> bool:
    """Whether the process that started this, where it said who and where it is, has ended."""
    host, _, process = os.environ.get("PQV_STARTER", "").rpartition(":")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    return False


def copies(tensors: dict) -> dict:
    return {name: value.detach().clone() for name, value in tensors.items()}


class Again:
    """An iterable that is made anew each time it is gone through."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return iter(self.make())


def meet(backend: str) -> None:
    """Joins the processes. Those that were started again must not find the addresses of those before them."""
    store, rank, world = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = dist.PrefixStore(f"attempt{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=LONGEST_WAIT)


def precision_of(amp: str, on_gpu: bool, qat: bool):
    """What products are computed in; nothing for float32. Shorter floats don't hold the numbers of int8."""
    if qat and amp in ("bf16", "fp16"):
        raise Failure(f"a training for int8 computes in float32: leave --amp {amp} out")
    if amp == "auto":
        if qat or not on_gpu:
            return None
        amp = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[amp]


def written(state: dict, path: Path) -> None:
    """Writes a file whole or not at all."""
    half = path.with_suffix(".tmp")
    torch.save(state, half)
    os.replace(half, path)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--amp", choices=["auto", "bf16", "fp16", "off"], default="auto")
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    meet("nccl" if on_gpu else "gloo")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = max(0, (os.cpu_count() or 1) // here - 1) if args.workers is None else args.workers
    try:
        training = Training(args.folder, workers, args.amp)
        if training.world > training.job["batchSize"]:
            raise Failure(f"{training.world} processes can't divide a batch of {training.job['batchSize']} images")
        name = torch.cuda.get_device_name() if on_gpu else "CPU"
        amp = str(training.precision).removeprefix("torch.") if training.precision else "float32"
        tell("begin", processes=training.world, device=name, precision=amp, torch=torch.__version__, workers=training.workers)
        training.load()
        if training.run():
            tell("done")
        return 0
    except Failure as failure:
        tell("failed", message=str(failure))
        return 1
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
