"""Learned projectors from a student's tap to a teacher's of another shape; trained with the student, then dropped."""
