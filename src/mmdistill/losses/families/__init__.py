"""Options and catalog entries of the distillation losses, one file a family. No torch."""
