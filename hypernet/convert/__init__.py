"""Networks on the move: merged, reduced, baked into a checkpoint, as a LoRA, and a folder of them at a time."""
