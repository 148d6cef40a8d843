"""Strategies for computing a site, one per file. All give the plain formula's result; their cost per step differs."""
