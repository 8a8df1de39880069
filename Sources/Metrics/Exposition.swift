// Metrics as text: the Prometheus text exposition format, version 0.0.4, which node_exporter's textfile collector reads too.

/// Builds one exposition; families in the order in which they are added, each name once.
public struct Exposition: Sendable {
    public typealias Labels = [(name: String, value: String)]

    public private(set) var text = ""

    public init() {}

    /// A number that only grows; its name ends in `_total` by convention.
    public mutating func counter(_ name: String, _ help: String, _ samples: [(Labels, UInt64)]) {
        guard !samples.isEmpty else { return }
        self.head(name, "counter", help)
        for (labels, value) in samples { self.line(name, labels, String(value)) }
    }

    /// A counter without labels.
    public mutating func counter(_ name: String, _ help: String, _ value: UInt64) { self.counter(name, help, [([], value)]) }

    /// The same for what is counted in parts, such as seconds.
    public mutating func counter(_ name: String, _ help: String, _ value: Double) {
        self.head(name, "counter", help)
        self.line(name, [], Self.number(value))
    }

    /// A number that goes up and down.
    public mutating func gauge(_ name: String, _ help: String, _ samples: [(Labels, Double)]) {
        guard !samples.isEmpty else { return }
        self.head(name, "gauge", help)
        for (labels, value) in samples { self.line(name, labels, Self.number(value)) }
    }

    /// A gauge without labels; left out where the value is not known.
    public mutating func gauge(_ name: String, _ help: String, _ value: (some BinaryInteger)?) {
        if let value { self.gauge(name, help, [([], Double(value))]) }
    }

    /// A spread of values.
    public mutating func histogram(_ name: String, _ help: String, _ samples: [(Labels, Histogram.Snapshot)]) {
        guard !samples.isEmpty else { return }
        self.head(name, "histogram", help)
        for (labels, snapshot) in samples {
            let bounds = snapshot.bounds.map { Self.number($0) } + ["+Inf"]
            for (bound, count) in zip(bounds, snapshot.cumulativeCounts) {
                self.line(name + "_bucket", labels + [("le", bound)], String(count))
            }
            self.line(name + "_sum", labels, Self.number(snapshot.sum))
            self.line(name + "_count", labels, String(snapshot.count))
        }
    }

    private mutating func head(_ name: String, _ type: String, _ help: String) {
        self.text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(type)\n"
    }

    private mutating func line(_ name: String, _ labels: Labels, _ value: String) {
        let list = labels.map { "\($0.name)=\"\(Self.escaped($0.value, quotes: true))\"" }.joined(separator: ",")
        self.text += list.isEmpty ? "\(name) \(value)\n" : "\(name){\(list)} \(value)\n"
    }

    /// Backslash and line feed are escaped everywhere, the quote in label values alone.
    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped.append(contentsOf: "\\\\".unicodeScalars)
            case "\n": escaped.append(contentsOf: "\\n".unicodeScalars)
            case "\"" where quotes: escaped.append(contentsOf: "\\\"".unicodeScalars)
            default: escaped.append(scalar)
            }
        }
        return String(escaped)
    }

    /// As Go's ParseFloat reads it; whole numbers without a fraction, so that counts look like counts.
    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return "\(value)"
    }
}
