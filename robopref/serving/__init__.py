"""A policy on one machine, the arm on another: what goes over the network, and both its ends."""
