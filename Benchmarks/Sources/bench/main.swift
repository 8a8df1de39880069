// Measures sign, get_ca, ocsp_check and revoke of a CA of its own, beside what OpenSSL does on the same cores.
import CRequestMaker
import Foundation
import Glibc
import Synchronization
import UPKIProtocol

/// A line at once, also where standard output is a file or a pipe.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

struct Options {
    var programs = ".build/release"
    var requests = 30_000
    var connections = 4
    var inFlight = 256
    /// Certificates that OCSP is asked for.
    var certificates = 100_000
    /// How long each measurement over HTTP takes.
    var seconds = 8
    /// The OCSP bridge's cache in MiB.
    var cache = 64
    /// Where the benchmark's own resources, libraries and the site file of deploy/nginx are.
    var resources = "Benchmarks"
    var libraries = "Benchmarks/.build/release"
    var site = "deploy/nginx/upki-ca.conf"

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        func number(_ name: String) throws -> Int {
            guard let text = rest.popFirst(), let value = Int(text), value > 0 else {
                throw BenchError(description: "\(name) wants a number")
            }
            return value
        }
        while let argument = rest.popFirst() {
            switch argument {
            case "--programs": self.programs = rest.popFirst() ?? self.programs
            case "--requests": self.requests = try number(argument)
            case "--certificates": self.certificates = try number(argument)
            case "--seconds": self.seconds = try number(argument)
            case "--cache": self.cache = try number(argument)
            case "--connections": self.connections = try number(argument)
            case "--in-flight": self.inFlight = try number(argument)
            default:
                throw BenchError(
                    description: "usage: bench [--programs DIR] [--requests N] [--connections N] [--in-flight N] [--certificates N] "
                        + "[--seconds N] [--cache MiB]")
            }
        }
    }
}

func frame(_ task: String, _ parameters: [(String, JSON)] = []) -> [UInt8] {
    Request(task: task, parameters: Parameters(parameters.map { JSON.Member($0.0, $0.1) })).frame
}

/// CSRs, each with a key and a name of its own, in as many threads as there are cores.
func requests(_ count: Int, under label: String = "host") throws -> [[UInt8]] {
    let made = Mutex<[Int: [UInt8]]>([:])
    let workers = ProcessInfo.processInfo.activeProcessorCount
    DispatchQueue.concurrentPerform(iterations: workers) { worker in
        var own: [Int: [UInt8]] = [:]
        var buffer = [CChar](repeating: 0, count: 4_096)
        for number in stride(from: worker, to: count, by: workers) {
            let length = request_maker_pem("\(label)-\(number).bench.example.com", &buffer, buffer.count)
            guard length > 0 else { return }
            own[number] = frame(
                "sign",
                [("csr", .string(String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self))), ("profile", "server")])
        }
        made.withLock { $0.merge(own) { first, _ in first } }
    }
    let all = made.withLock { $0 }
    guard all.count == count else { throw BenchError(description: "OpenSSL made \(all.count) CSRs of \(count)") }
    return (0..<count).compactMap { all[$0] }
}

/// The serial number in an answer to `sign`, without reading the rest: the load generator shares the cores with the CA.
func serial(in answer: [UInt8]) -> String? {
    let mark = Array(#""serial":""#.utf8)
    guard let place = answer.indices.first(where: { answer[$0...].starts(with: mark) }) else { return nil }
    return String(decoding: answer[(place + mark.count)...].prefix { $0 != UInt8(ascii: "\"") }, as: UTF8.self)
}

/// The name and the two figures of `openssl speed`: signatures and verifications a second.
func openSSLSpeed(processes: Int) throws -> (sign: String, verify: String) {
    let text = try output(of: "/usr/bin/openssl", ["speed", "-seconds", "2", "-multi", "\(processes)", "ecdsap256"], quietly: true)
    guard let line = text.split(separator: "\n").last(where: { $0.contains("nistp256") }) else {
        throw BenchError(description: "openssl speed said: \(text)")
    }
    let words = line.split(separator: " ")
    guard words.count >= 2 else { throw BenchError(description: "openssl speed said: \(line)") }
    return (String(words[words.count - 2]), String(words[words.count - 1]))
}

func padded(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }

func report(_ measurement: Measurement) {
    let columns = [
        padded("\(measurement.answers)", 9), padded(String(format: "%.0f", measurement.perSecond), 11),
        padded(String(format: "%.2f", measurement.percentile(0.5)), 9), padded(String(format: "%.2f", measurement.percentile(0.99)), 9),
    ]
    say(measurement.task + String(repeating: " ", count: max(0, 12 - measurement.task.count)) + columns.joined())
}

struct OCSPFigures {
    var measurements: [HTTPMeasurement]
    /// Milliseconds, sorted.
    var delays: [Double]
    var cached: Int
    var memory: [(String, Int)]
}

/// Issues what OCSP is to be asked for, and asks.
func measureOCSP(
    _ ca: BenchCA, _ options: Options,
    _ measure: (String, [[UInt8]], @escaping @Sendable (Int, [UInt8]) -> Void) throws -> Measurement
) throws -> OCSPFigures {
    say("issuing \(options.certificates) certificates")
    let issued = Mutex<[String]>([])
    var rest = options.certificates
    while rest > 0 {
        // In batches: what a million CSRs take of memory belongs to nobody here.
        let batch = min(rest, 50_000)
        rest -= batch
        _ = try measure("sign", try requests(batch, under: "o\(rest)")) { _, answer in
            if let serial = serial(in: answer) { issued.withLock { $0.append(serial) } }
        }
    }
    let serials = issued.withLock { $0 }
    guard serials.count == options.certificates else {
        throw BenchError(description: "\(serials.count) of \(options.certificates) were signed")
    }
    say("OCSP over HTTP, \(options.seconds) s each")
    let bench = try OCSPBench(
        ca, serials: serials, seconds: options.seconds, resources: options.resources, libraries: options.libraries)
    let answers = try bench.fill(keep: 10_000)
    let memory = ca.memory()
    var measurements = try bench.direct()
    measurements += try bench.behindNginx(site: options.site)
    measurements += try bench.others(answers: answers)
    // The last ones: the load asks for the first 100,000, which may be all.
    let delays = try bench.revocationDelays(zip(bench.serials, serials).map { ($0, $1) }.suffix(1_000))
    return OCSPFigures(measurements: measurements, delays: delays, cached: serials.count, memory: memory)
}

func main() throws {
    let options = try Options(Array(CommandLine.arguments.dropFirst()))
    let cores = ProcessInfo.processInfo.activeProcessorCount
    say("making \(options.requests) CSRs, each with a P-256 key of its own")
    let signs = try requests(options.requests)
    say("openssl speed ecdsap256")
    let speed = try openSSLSpeed(processes: cores)
    say("starting a CA")
    let ca = try BenchCA(programs: options.programs, cache: options.cache)
    defer { ca.end() }
    try ca.register()
    let endpoint = "tcp://127.0.0.1:\(ca.port)"
    let idle = ca.memory()
    func measure(_ task: String, _ frames: [[UInt8]], collect: @escaping @Sendable (Int, [UInt8]) -> Void = { _, _ in }) throws
        -> Measurement
    {
        try load(task, frames: frames, endpoint: endpoint, connections: options.connections, inFlight: options.inFlight, collect: collect)
    }
    // The first answers of a fresh process are not what is measured.
    _ = try measure("warm-up", Array(repeating: frame("get_ca"), count: 2_000))

    let serials = Mutex<[String]>([])
    var measurements = [
        try measure("sign", signs) { _, answer in if let serial = serial(in: answer) { serials.withLock { $0.append(serial) } } }
    ]
    let issued = serials.withLock { $0 }
    measurements.append(try measure("get_ca", Array(repeating: frame("get_ca"), count: options.requests * 3)))
    let curve = try ca.curve()
    measurements.append(
        try load(
            "get_ca CURVE", frames: Array(repeating: frame("get_ca"), count: options.requests * 3),
            endpoint: "tcp://\(BenchCA.curveAddress):\(ca.port)", curve: curve, connections: options.connections, inFlight: options.inFlight
        ))
    let checks = issued.map { frame("ocsp_check", [("serial", .string($0))]) }
    measurements.append(try measure("ocsp_check", checks + checks))
    measurements.append(try measure("revoke", issued.map { frame("revoke", [("serial", .string($0)), ("reason", "superseded")]) }))
    let loaded = ca.memory()
    let ocsp = try measureOCSP(ca, options, measure)

    say("")
    say(
        "\(cores) cores, shared with this load generator; \(options.connections) connections, \(options.inFlight) requests in flight; P-256 CA, P-256 CSRs"
    )
    say("task          answers  answers/s   p50 ms   p99 ms")
    for measurement in measurements { report(measurement) }
    say("")
    say(HTTPMeasurement.title(44))
    for measurement in ocsp.measurements { say(measurement.line(44)) }
    func delay(_ share: Double) -> String {
        String(format: "%.2f", ocsp.delays[min(ocsp.delays.count - 1, Int(Double(ocsp.delays.count) * share))])
    }
    say(
        "from the reply of revoke to the first revoked, \(ocsp.delays.count) times under load, ms: p50 \(delay(0.5)), p99 \(delay(0.99)), "
            + "longest \(delay(1))")
    say("")
    say("openssl speed -multi \(cores) ecdsap256, all cores together: \(speed.sign) signatures/s, \(speed.verify) verifications/s")
    say("memory (PSS) idle: " + idle.map { "\($0.0) \($0.1 / 1024) MB" }.joined(separator: ", "))
    say("memory (PSS) with \(ocsp.cached) answers cached: " + ocsp.memory.map { "\($0.0) \($0.1 / 1024) MB" }.joined(separator: ", "))
    say("memory (PSS) after sign and revoke: " + loaded.map { "\($0.0) \($0.1 / 1024) MB" }.joined(separator: ", "))
    let refusals = measurements.flatMap(\.refusals)
    guard refusals.isEmpty, issued.count == options.requests else {
        throw BenchError(description: "\(issued.count) of \(options.requests) were signed; refusals: \(refusals.prefix(5))")
    }
}

do { try main() } catch {
    FileHandle.standardError.write(Data("bench: \(error)\n".utf8))
    exit(1)
}
