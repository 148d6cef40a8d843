"""Small tensors gain nothing from threads, and a busy machine loses minutes to them."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
