"""Networks made into other files: merged, reduced, baked into a checkpoint, as a LoRA and back, by the folder."""
