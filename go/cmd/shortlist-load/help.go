package main

func help() string {
	return `shortlist-load measures a ranking service from outside.

Open-loop load: calls leave when they are due, whatever the server does, and their latency counts from then.
  shortlist-load -bundle models/toy -rate 50,100,200 -duration 20s -html report.html -json report.json
  shortlist-load -scenario bench/scenarios/steps.yaml -bundle models/toy
  shortlist-load -trace requests.jsonl -calls rank -candidates 1000 -rate 20 -deadline 200ms

Memory soak: requests of random shapes, as fast as a few callers get answers.
  shortlist-load -soak -pid 4242 -bundle models/toy -calls rank=2,recommend=1,retrieve=1 -candidates 1..3000 -history 0..200

Where
  -address HOST:PORT    data port of the server (127.0.0.1:7070); unix:PATH works too. Replicas of one server with
                        commas, HOST:PORT,HOST:PORT: connections take them in turn
  -allow-remote         allow an address that is not loopback
  -connections N        HTTP/2 connections, used in turn (2)

What is sent
  -bundle DIR           a release, or a model with a current file: its warm-up requests and its catalog's ids
  -trace FILE           RecommendRequest lines in protobuf's JSON, instead of -bundle
  -calls K=W,...        kinds by weight: rank, recommend, retrieve. Default: rank where the recorded request has
                        candidates, else recommend
  -candidates M|A..B    rank calls get so many different items. Default: as recorded
  -history N|A..B       every call gets a fresh history of so many events, which no cache can know. Default: as
                        recorded, and a replayed history is known to the server's cache after its first call
  -sessions N           so many users at a time come in turn, each back after N calls with an event or two more; the
                        history begins with -history events, and after 20 visits another user takes the place
  -ordered              requests in the order of the trace: a history that grows is sent as it grew. Default: shuffled
  -limit N              items wanted. Default: as recorded
  -seed N               order, shapes and arrival times (1)

When
  -rate R,R,...         calls a second; one step for each (50)
  -duration D           of each step (10s)
  -warmup D             at the first rate, not counted (3s)
  -arrivals P           poisson or constant (poisson)
  -deadline D           of each call, from the moment it is due (1s)
  -max-in-flight N      calls beyond that are not sent, counted, and void the run (4096)

Overload
  -overload             -rate lists multiples of the capacity, which -callers in a closed loop find during the
                        warm-up. From twice the capacity on the run is judged: goodput at least 95% of the peak, which
                        is the capacity or the best at a lower rate, p99 of answers within the deadline, p99 of refusals
                        at most 10 ms

Small calls among large ones
  -small M              calls of M candidates: alone, and then among as many of -candidates, at -rate times the capacity,
                        found as for -overload. Judged: p99 of the small ones at most twice that of them alone

Memory soak
  -soak                 closed loop instead of open loop
  -pid N                process whose resident memory is watched
  -requests N           calls in all; the first fifth is warm-up (20000)
  -callers N            calls in flight (4)
  -growth-limit MB      more growth fails the run (50)

What is written
  -json FILE, -html FILE   the report; a table goes to standard output
  -title TEXT, -commit ID  of the report. Default commit: the one that shortlist-load was built from

  -scenario FILE        YAML of these flags without the dash; the command line overrides it

Exit status: 0 measured, 1 not measured, memory grew too much or a promise not kept, 2 bad command line, 3 void: the generator was
the bottleneck.
`
}
