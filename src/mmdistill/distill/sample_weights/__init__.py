"""What a row of a batch counts in a term, from the logits of teacher and student; a function for each."""
