"""The images of a job: where they lie, how they are decoded, prepared and changed."""

import io
import json
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import auto_augment
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision import transforms

# The share of the images that may be unreadable.
TOLERATED = 0.01
# The largest decoded image that is kept, and how much all that a process keeps may take.
SMALL_BYTES, KEPT_BYTES = 64 << 10, 256 << 20


class Images(torch.utils.data.Dataset):
    """The images that a file of the job lists, a line of JSON each.

    A line is `[label, path]`, `[label, path, offset, size]`, or `[label, null, offset, size, [height, width, channels]]`
    for pixels as they are; what has no path lies in the job's own `images.bin`.
    """

    def __init__(self, job: Path, listing: str, prepare, channels: int):
        with (job / listing).open() as lines:
            self.samples = [json.loads(line) for line in lines]
        self.packed = job / "images.bin"
        self.kept = {}
        self.room = KEPT_BYTES
        self.prepare = prepare
        self.mode = "L" if channels == 1 else "RGB"
        self.failures = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place):
        """The pixels and the label of an image, or nothing where it can't be read.

        `place` is its index, and what the random changes are drawn from.
        """
        index, *key = place
        try:
            image = self.decoded(index)
        except Exception as error:
            self.failures += 1
            print(f"skipped image {index}: can't be read ({error})", flush=True)
            if self.failures > max(1, TOLERATED * len(self)):
                raise RuntimeError("more than 1 % of the images can't be read") from error
            return None
        seed = np.random.SeedSequence(key).generate_state(3)
        random.seed(int(seed[0]))
        np.random.seed(seed[1])
        # torch.manual_seed would also ask every kind of accelerator, which takes longer than all the rest.
        torch.default_generator.manual_seed(int(seed[2]))
        return self.prepare(image), self.samples[index][0]

    def decoded(self, index: int) -> Image.Image:
        """An image, kept for the next epoch where it is small: decoding it takes longer than changing it."""
        if index in self.kept:
            return self.kept[index]
        image = self.read(index)
        size = image.width * image.height * len(image.mode)
        if size <= SMALL_BYTES and size <= self.room:
            image.load()
            self.kept[index] = image
            self.room -= size
        return image

    def read(self, index: int) -> Image.Image:
        _, path, *part = self.samples[index]
        if not part:
            return Image.open(path).convert(self.mode)
        offset, size, *shape = part
        with open(path or self.packed, "rb") as file:
            file.seek(offset)
            data = file.read(size)
        if not shape:
            return Image.open(io.BytesIO(data)).convert(self.mode)
        height, width, channels = shape[0]
        return Image.frombytes("L" if channels == 1 else "RGB", (width, height), data).convert(self.mode)


def joined(samples):
    """A batch: pixels `[N, C, H, W]` and labels `[N]` of those that could be read."""
    read = [sample for sample in samples if sample is not None]
    if not read:
        return None
    pixels, labels = zip(*read)
    return torch.stack(pixels), torch.tensor(labels)


def evaluation(preprocessing: dict):
    """timm's own transform for evaluation."""
    height, width = preprocessing["inputSize"][1:]
    return transforms_imagenet_eval(
        img_size=(height, width),
        crop_pct=preprocessing["cropPct"],
        crop_mode=preprocessing["cropMode"],
        interpolation=preprocessing["interpolation"],
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
        use_prefetcher=False,
        normalize=True,
    )


class Shift:
    """The window that evaluation would see, moved by up to so many pixels each way."""

    def __init__(self, pixels: int, preprocessing: dict):
        self.pixels = pixels
        self.resize = evaluation(preprocessing).transforms[0]
        self.height, self.width = preprocessing["inputSize"][1:]
        self.frame = tones(preprocessing) if preprocessing["cropMode"] == "border" else 0

    def __call__(self, image: Image.Image) -> Image.Image:
        image = self.resize(image)
        reach = self.pixels
        left = round((image.width - self.width) / 2) + random.randint(-reach, reach)
        top = round((image.height - self.height) / 2) + random.randint(-reach, reach)
        seen = Image.new(image.mode, (self.width, self.height), self.frame)
        seen.paste(image, (-left, -top))
        return seen


def tones(preprocessing: dict):
    """The mean colour as 8-bit tones."""
    mean = tuple(min(255, round(255 * share)) for share in preprocessing["mean"])
    return mean[0] if len(mean) == 1 else mean


def training(preprocessing: dict, augment: dict):
    """The changes that the recipe makes to a training image, in timm's order."""
    if not augment:
        return evaluation(preprocessing)
    size = tuple(preprocessing["inputSize"][1:])
    crop = augment.get("crop")
    steps = []
    if crop and crop["kind"] == "resized":
        steps.append(
            RandomResizedCropAndInterpolation(
                size,
                scale=tuple(crop.get("scale", (0.08, 1))),
                ratio=tuple(crop.get("ratio", (3 / 4, 4 / 3))),
                interpolation=preprocessing["interpolation"],
            )
        )
    else:
        steps.append(Shift(crop["pixels"] if crop else 0, preprocessing))
    if augment.get("flip"):
        steps.append(transforms.RandomHorizontalFlip(augment["flip"]))
    if augment.get("randAugment"):
        settings = {
            "translate_const": int(min(size) * 0.45),
            "img_mean": tones(preprocessing),
            "interpolation": Image.Resampling.BICUBIC
            if preprocessing["interpolation"] == "bicubic"
            else Image.Resampling.BILINEAR,
        }
        steps.append(auto_augment.rand_augment_transform(augment["randAugment"], settings))
    if augment.get("jitter"):
        steps.append(transforms.ColorJitter(*[augment["jitter"]] * 3))
    steps += [transforms.ToTensor(), transforms.Normalize(preprocessing["mean"], preprocessing["std"])]
    if augment.get("erase"):
        mode = augment.get("eraseMode", "pixel")
        steps.append(RandomErasing(augment["erase"], mode=mode, max_count=1, device="cpu"))
    return transforms.Compose(steps)
