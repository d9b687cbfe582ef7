"""Every family of networks that transformers can build: states and log-odds against single plain passes, or a refusal."""
