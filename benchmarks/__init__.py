"""How fast stylelab is, next to the loop that everyone writes: `python -m benchmarks`.

Times are compared within one run, as ratios of medians of interleaved repeats. Results are kept in
`results/NAME.json` (`store`), from which the table (`report`) and the plot (`plot`) are made.
"""
