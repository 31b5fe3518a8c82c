"""Who competes: plain PyTorch modules, and the catalog that finds them by name."""
