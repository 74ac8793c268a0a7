"""Our preprocessing gives what timm's evaluation transform gives on Pillow.

    python conformance/check_preprocess.py [IMAGE ...]      judges the built product; more images to try may be named
    python conformance/check_preprocess.py --out DIR        writes images and expected results only
    python conformance/check_preprocess.py --out src/dataset/golden --small      the set the unit tests check

A folder holds cases.json: for each case the image, the preprocessing, a PNG of the transform's result
before normalization, and some values after it. `node conformance/preprocess.mjs DIR` compares.
"""
import argparse
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageDraw

root = pathlib.Path(__file__).resolve().parent.parent


def import_timm():
    """timm's eval transform, also where torchvision lacks its compiled operators (none is used here)."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_timm.library = library  # it is undefined when collected
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    from timm.data.transforms_factory import transforms_imagenet_eval

    return transforms_imagenet_eval


def scene(width, height, seed):
    """Something with what makes resampling hard: ramps, fine texture, sharp edges, lettering, grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(3):
        plane = 110 + 60 * np.sin(x / rng.uniform(20, 60) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(15, 50))
        chirp = (x / width) ** 2 * width / 5 + (y / height) ** 2 * height / 7
        plane += 35 * np.sin(chirp * rng.uniform(0.5, 1.5))
        planes.append(plane + rng.normal(0, 7, plane.shape))
    image = Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.03, 0.2) * width, rng.uniform(0.03, 0.2) * height
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)
        else:
            draw.line((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour, width=int(rng.integers(1, 5)))
    for row in range(3):
        draw.text((width * 0.05, height * (0.2 + 0.25 * row)), "prune quantize vision", fill=(255, 250, 240))
    return image


def png16(path, image):
    """A PNG of 16 bits a channel, which Pillow reads but does not write."""
    rng = np.random.default_rng(3)
    values = np.asarray(image).astype(np.int64) * 257 + rng.integers(-120, 120, (image.height, image.width, 3))
    rows = np.clip(values, 0, 65535).astype(">u2")
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunk = lambda tag, data: struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def write_images(out, small):
    """Every kind of file an image folder may hold; returns the names."""
    base = scene(*((97, 75) if small else (331, 247)), seed=1)
    shade = np.linspace(0, 255, base.width).astype(np.uint8)[None].repeat(base.height, 0)
    clear = base.copy()
    clear.putalpha(Image.fromarray(shade))
    grey_clear = base.convert("L")
    grey_clear.putalpha(90)
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = []

    def save(image, name, **options):
        image.save(out / name, **options)
        names.append(name)

    save(base, "subsampled.jpg", quality=80, subsampling=2)
    save(base, "turned.jpg", quality=92, exif=turned)
    save(base.convert("L"), "grey.jpg", quality=85)
    save(base.convert("CMYK"), "cmyk.jpg", quality=85)
    save(base.quantize(64), "palette.png", transparency=3)
    save(clear, "alpha.webp", lossless=True, exact=True)
    save(base.convert("1"), "bilevel.png")
    if not small:
        save(base, "progressive.jpg", progressive=True, quality=75)
        save(base, "profile.jpg", icc_profile=profile)
        save(base, "plain.png")
        save(clear, "alpha.png")
        save(grey_clear, "grey-alpha.png")
        save(base, "lossy.webp", quality=80)
        save(base, "plain.tif")
        save(base.convert("CMYK"), "cmyk.tif")
        png16(out / "deep.png", base)
        names.append("deep.png")
        for width, height in [(28, 28), (224, 224), (640, 480), (501, 1203), (1999, 333), (60, 400), (3000, 2000)]:
            save(scene(width, height, width), f"scene-{width}x{height}.jpg", quality=90)
    return names


IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
HALF = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])


def configurations(small):
    """timm configurations: every crop mode and filter, over- and undersized crops, odd and uneven inputs."""
    edge = 40 if small else 224
    rows = [
        ((3, edge, edge), "bicubic", 0.875, "center", IMAGENET),
        ((3, edge, edge), "bilinear", 0.95, "squash", HALF),
        ((3, edge + 7, edge + 7), "bicubic", 0.9, "border", IMAGENET),
        ((1, 28, 28), "bicubic", 1.0, "center", dict(mean=[0.1307], std=[0.3081])),
    ]
    if not small:
        rows += [
            ((3, 384, 384), "bicubic", 1.0, "squash", HALF),
            ((3, 225, 225), "bilinear", 0.888, "center", IMAGENET),
            ((3, 224, 224), "bicubic", 1.15, "center", IMAGENET),
            ((3, 256, 192), "bicubic", 0.9, "center", HALF),
            ((3, 192, 256), "bilinear", 1.0, "border", IMAGENET),
            ((3, 32, 32), "bicubic", 1.0, "center", HALF),
        ]
    keys = ("input_size", "interpolation", "crop_pct", "crop_mode")
    return [dict(zip(keys, row[:4]), **row[4]) for row in rows]


def write_cases(out, small, images):
    out.mkdir(parents=True, exist_ok=True)
    eval_transform = import_timm()
    paths = [out / name for name in write_images(out, small)]
    for index, path in enumerate(images):
        copy = out / f"given-{index}{path.suffix.lower()}"
        copy.write_bytes(path.read_bytes())
        paths.append(copy)

    cases = []
    for path in paths:
        for number, config in enumerate(configurations(small)):
            channels, *size = config["input_size"]
            options = {key: value for key, value in config.items() if key != "input_size"}
            image = Image.open(path).convert("L" if channels == 1 else "RGB")
            levels = eval_transform(tuple(size), normalize=False, **options)(image).numpy()
            floats = eval_transform(tuple(size), **options)(image).numpy().ravel()
            expected = f"{path.stem}-{path.suffix[1:]}.{number}.png"
            pixels = levels[0] if channels == 1 else levels.transpose(1, 2, 0)
            Image.fromarray(pixels).save(out / expected, optimize=True)
            places = range(0, floats.size, math.ceil(floats.size / 16))
            samples = [[place, float(floats[place])] for place in places]
            cases.append({"image": path.name, "config": config, "expected": expected, "samples": samples})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (out / "cases.json").write_text(f"[\n{lines}\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, help="write the cases here and stop")
    parser.add_argument("--small", action="store_true", help="a few small images and configurations")
    parser.add_argument("images", nargs="*", type=pathlib.Path, help="more images to try, photographs above all")
    args = parser.parse_args()
    if args.out:
        write_cases(args.out, args.small, args.images)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_cases(pathlib.Path(folder), args.small, args.images)
        return subprocess.run(["node", str(root / "conformance" / "preprocess.mjs"), folder]).returncode


if __name__ == "__main__":
    sys.exit(main())
