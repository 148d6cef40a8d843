"""One strategy to compute a site per file. Each gives the plain formula's result; they differ in what a step costs."""
