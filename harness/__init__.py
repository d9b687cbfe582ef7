"""A declarative harness for eliciting latent knowledge: YAML specs in, reports with ground-truth checks out."""

__version__ = "0.1.0"
