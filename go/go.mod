module github.com/shortlist-serving/shortlist/go

go 1.26.0
