"""The ways to compute a site. Each gives the plain formula's result; they differ in what a step costs."""
