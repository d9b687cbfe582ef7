"""Test beds in the making: their weights are trained, noted and tried."""
