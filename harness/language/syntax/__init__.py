"""From text to a tree of nodes that know where they were written, and how one tree is merged over another."""
