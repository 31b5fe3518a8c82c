"""How fast this machine trains: the case study's loop written out plainly, and the same work by tiebreak."""
