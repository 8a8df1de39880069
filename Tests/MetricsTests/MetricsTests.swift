// The text format, line by line as Prometheus documents it (exposition formats, text format 0.0.4), and counting from many threads.

import Metrics
import Synchronization
import Testing
import Threads

@Suite("Metrics as text")
struct ExpositionTests {
    @Test("each family has its HELP and TYPE before its samples, and every line ends in a line feed")
    func families() {
        var text = Exposition()
        text.counter("http_requests_total", "The total number of HTTP requests.", [([("method", "post"), ("code", "200")], 1027)])
        text.gauge("up", "Whether it is up.", Optional(1))
        #expect(
            text.text == """
                # HELP http_requests_total The total number of HTTP requests.
                # TYPE http_requests_total counter
                http_requests_total{method="post",code="200"} 1027
                # HELP up Whether it is up.
                # TYPE up gauge
                up 1

                """)
    }

    @Test("backslash, quote and line feed are escaped in label values; help keeps its quotes")
    func escaping() {
        var text = Exposition()
        text.gauge(
            "msdos_file_access_time_seconds", "A \"time\"\nof\\day.",
            [([("path", "C:\\DIR\\FILE.TXT"), ("error", "Cannot find file:\n\"FILE.TXT\"")], 1.458255915e9)])
        #expect(
            text.text == #"""
                # HELP msdos_file_access_time_seconds A "time"\nof\\day.
                # TYPE msdos_file_access_time_seconds gauge
                msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1458255915

                """#)
    }

    @Test("a histogram's buckets are cumulative, end with +Inf, and its count is that of +Inf")
    func histograms() {
        let histogram = Histogram(bounds: [50_000_000, 100_000_000, 1_000_000_000], unitsInOne: 1e9)
        for milliseconds: UInt64 in [10, 50, 51, 1_000, 1_001, 2_500] { histogram.record(milliseconds * 1_000_000) }
        var text = Exposition()
        text.histogram("request_seconds", "Durations.", [([("task", "sign")], histogram.snapshot)])
        #expect(
            text.text == """
                # HELP request_seconds Durations.
                # TYPE request_seconds histogram
                request_seconds_bucket{task="sign",le="0.05"} 2
                request_seconds_bucket{task="sign",le="0.1"} 3
                request_seconds_bucket{task="sign",le="1"} 4
                request_seconds_bucket{task="sign",le="+Inf"} 6
                request_seconds_sum{task="sign"} 4.612
                request_seconds_count{task="sign"} 6

                """)
    }

    @Test("what is not a number has its documented spelling")
    func specialNumbers() {
        var text = Exposition()
        text.gauge("x", "X.", [([("of", "a")], .nan), ([("of", "b")], .infinity), ([("of", "c")], -.infinity), ([("of", "d")], -3.5)])
        #expect(text.text.hasSuffix("x{of=\"a\"} NaN\nx{of=\"b\"} +Inf\nx{of=\"c\"} -Inf\nx{of=\"d\"} -3.5\n"))
    }

    @Test("a family without samples leaves no trace")
    func empty() {
        var text = Exposition()
        text.counter("a_total", "A.", [])
        text.gauge("b", "B.", Int?.none)
        text.histogram("c", "C.", [])
        #expect(text.text.isEmpty)
    }
}

@Suite("Counting")
struct CountingTests {
    @Test("nothing is lost when four threads count and record at once")
    func concurrently() throws {
        let counter = Counter()
        let histogram = Histogram.seconds()
        let threads = try (0..<4).map { number in
            try OwnedThread(name: "count-\(number)") {
                for value in 0..<25_000 {
                    counter.add()
                    histogram.record(UInt64(value) * 1_000)
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(counter.value == 100_000)
        let snapshot = histogram.snapshot
        #expect(snapshot.count == 100_000)
        // 0 … 500 µs of each thread are at most half a millisecond.
        #expect(snapshot.cumulativeCounts[0] == 4 * 501)
        #expect(abs(snapshot.sum - 4 * 0.312_487_5 * 1_000) < 1e-6)
    }
}
