"""Ratios against PyTorch (and tinygrad), measured interleaved in one run: `python -m benchmarks` or `make bench`."""
