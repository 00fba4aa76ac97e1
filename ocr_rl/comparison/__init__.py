"""Several recipes under one budget: plan, trials, significance, outcome."""
