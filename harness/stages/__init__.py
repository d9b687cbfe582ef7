"""The stages that every plan has, a file each."""
