"""Which modality teaches, what a teacher is worth, and whether a student can gain: from validation rows alone."""
