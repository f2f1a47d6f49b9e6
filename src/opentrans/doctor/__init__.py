"""What ``opentrans doctor`` looks at: one module for each theme, each check a function of plain values."""
