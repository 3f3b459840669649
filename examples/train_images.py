"""Train a small CNN (or ResNet-18) on real images, on any OpenCL device.

    python examples/train_images.py                       # scikit-learn's handwritten digits, no network needed
    python examples/train_images.py --data cifar10 --model resnet18 --epochs 20
    python examples/train_images.py --resume runs/digits-cnn/checkpoint.pt

Writes checkpoint.pt and result.png (loss, accuracy, sample predictions) into runs/<data>-<model>.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

import cltorch as torch
import cltorch.nn as nn
import cltorch.nn.functional as F
import cltorch.vision as torchvision
import cltorch.vision.transforms as transforms


class CNN(nn.Module):
    """Two convolutions and three linear layers for 3x32x32 images."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def make_datasets(name: str, root: str):
    """(training set, test set) of 3x32x32 images normalised to -1..1."""
    to_tensor = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    if name == "cifar10":
        augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        return (
            torchvision.datasets.CIFAR10(
                root, train=True, download=True, transform=transforms.Compose([*augment, *to_tensor])
            ),
            torchvision.datasets.CIFAR10(root, train=False, download=True, transform=transforms.Compose(to_tensor)),
        )
    rgb = [transforms.Resize(32), transforms.Grayscale(3)]
    augment = [transforms.RandomCrop(32, padding=2)]
    return (
        torchvision.datasets.Digits(train=True, transform=transforms.Compose([*rgb, *augment, *to_tensor])),
        torchvision.datasets.Digits(train=False, transform=transforms.Compose([*rgb, *to_tensor])),
    )


def evaluate(model: nn.Module, loader) -> float:
    """Share of test images that are classified correctly."""
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images).argmax(dim=1) == labels).sum().item()
            total += labels.size(0)
    model.train()
    return correct / total


def draw(path: Path, losses: list, accuracies: list, model: nn.Module, dataset, classes: list, title: str) -> None:
    """Loss curve, accuracy per epoch and twelve test images with predictions, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    picked = [dataset[i * len(dataset) // 12] for i in range(12)]
    model.eval()
    with torch.no_grad():
        guesses = model(torch.stack([image for image, _ in picked])).argmax(dim=1).tolist()
    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots()
    axes.plot(losses, linewidth=0.6, alpha=0.4, color="tab:blue")
    window = max(1, len(losses) // 60)
    smooth = [sum(losses[max(0, i - window) : i + 1]) / (i + 1 - max(0, i - window)) for i in range(len(losses))]
    axes.plot(smooth, color="tab:blue", label="training loss")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    other = axes.twinx()
    steps = [len(losses) * (i + 1) / len(accuracies) for i in range(len(accuracies))]
    other.plot(steps, [100 * a for a in accuracies], "o-", color="tab:orange", label="test accuracy")
    other.set_ylabel("test accuracy, %")
    lines = [*axes.lines[1:], *other.lines]
    other.legend(lines, [line.get_label() for line in lines], loc="center right")
    for cell, (image, label), guess in zip(right.subplots(3, 4).flat, picked, guesses):
        cell.imshow((image.numpy().transpose(1, 2, 0) + 1) / 2)
        cell.set_title(classes[guess], fontsize=9, color="tab:green" if guess == label else "tab:red")
        cell.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--model", choices=("cnn", "resnet18"), default="cnn")
    parser.add_argument("--epochs", type=int, default=None, help="default: 20 on digits, 10 on cifar10")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=None, help="default: 0.05 (cnn), 0.1 (resnet18)")
    parser.add_argument("--workers", type=int, default=0, help="data-loader processes")
    parser.add_argument("--device", default=None, help="cl:0, gpu, cpu, …; default: the best one")
    parser.add_argument("--root", default="data", help="folder of downloaded datasets")
    parser.add_argument("--out", default=None, help="folder of results; default: runs/<data>-<model>")
    parser.add_argument("--resume", default=None, help="a checkpoint to go on from")
    parser.add_argument("--limit", type=int, default=None, help="use only so many images of each set, for a quick try")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    epochs = given.epochs or (20 if given.data == "digits" else 10)
    out = Path(given.out or f"runs/{given.data}-{given.model}")
    out.mkdir(parents=True, exist_ok=True)

    if given.device:
        torch.set_default_device(given.device)
    torch.manual_seed(given.seed)
    print(f"cltorch {torch.__version__} on {torch.get_default_device()}: {torch.accelerator.device_name()}")
    train_set, test_set = make_datasets(given.data, given.root)
    classes = train_set.classes
    if given.limit:
        train_set, test_set = (
            torch.utils.data.Subset(s, range(min(given.limit, len(s)))) for s in (train_set, test_set)
        )
    loader = torch.utils.data.DataLoader(
        train_set,
        batch_size=given.batch_size,
        shuffle=True,
        num_workers=given.workers,
        drop_last=True,
        persistent_workers=given.workers > 0,
    )
    test_loader = torch.utils.data.DataLoader(test_set, batch_size=120)
    model = (
        CNN(len(classes))
        if given.model == "cnn"
        else torchvision.models.resnet18(num_classes=len(classes), small_images=True)
    )
    criterion = nn.CrossEntropyLoss()
    rate = given.lr or (0.05 if given.model == "cnn" else 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses: list = []
    accuracies: list = []
    if given.resume:
        saved = torch.load(given.resume)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        losses, accuracies = saved["losses"], saved["accuracies"]
        print(f"resumed after epoch {len(accuracies)}")

    began = time.perf_counter()
    for epoch in range(len(accuracies), epochs):
        bar = tqdm(loader, desc=f"epoch {epoch + 1}/{epochs}", unit="batch", leave=True)
        total = 0.0
        for i, (images, labels) in enumerate(bar):
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            total += losses[-1]
            bar.set_postfix(loss=f"{total / (i + 1):.3f}")
        scheduler.step()
        accuracies.append(evaluate(model, test_loader))
        print(f"epoch {epoch + 1}: test accuracy {100 * accuracies[-1]:.2f} %")
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
                "losses": losses,
                "accuracies": accuracies,
            },
            out / "checkpoint.pt",
        )
    title = f"{given.model} on {given.data}: {100 * accuracies[-1]:.2f} % after {epochs} epochs"
    title += f", {torch.accelerator.device_name()}"
    draw(out / "result.png", losses, accuracies, model, test_set, classes, title)
    print(
        f"Test accuracy: {100 * accuracies[-1]:.2f} %  "
        f"({time.perf_counter() - began:.1f} s; {out}/result.png, {out}/checkpoint.pt)"
    )


if __name__ == "__main__":
    main()
