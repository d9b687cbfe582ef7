"""What did a probe latch on to? Its answers against truth, distractors, their XORs, and what the text looks like."""
