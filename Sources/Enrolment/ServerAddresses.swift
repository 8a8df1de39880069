// Where a CA is, and which CURVE keys it has.

import PKI
public import UPKIProtocol
import ZeroMQ

/// The places of a CA and the keys that it is known by.
public struct ServerAddresses: Sendable, Equatable {
    /// One key for each port, and the ports on which they are had.
    public struct KeySet: Sendable, Equatable {
        public var port: Int
        public var registrarPort: Int
        /// The front's public key, in Z85 (ZeroMQ RFC 32).
        public var coreKey: String
        /// The registrar's.
        public var registrarKey: String

        public init(port: Int, registrarPort: Int, coreKey: String, registrarKey: String) {
            self.port = port
            self.registrarPort = registrarPort
            self.coreKey = coreKey
            self.registrarKey = registrarKey
        }
    }

    /// Addresses or names, tried in this order.
    public var hosts: [String]
    /// Tried in this order: the current keys; while keys are exchanged the next ones, on their further ports and, for the time after the
    /// exchange, on the present ones.
    public var sets: [KeySet]

    static let mostHosts = 16
    static let mostSets = 3

    public init(hosts: [String], sets: [KeySet]) {
        self.hosts = hosts
        self.sets = sets
    }

    /// From the answer to `transport`.
    ///
    /// - Throws: `.invalidAnswer` where it is none.
    public init(transport: JSON) throws(EnrolmentError) {
        let hosts = transport["addresses"]?.arrayValue?.compactMap(\.stringValue) ?? []
        var sets = [transport].compactMap { KeySet(transport: $0) }
        if let current = sets.first, let next = transport["next"].flatMap({ KeySet(transport: $0) }) {
            var later = next
            (later.port, later.registrarPort) = (current.port, current.registrarPort)
            sets += [next, later]
        }
        self.init(hosts: hosts, sets: sets)
        guard let fault else { return }
        throw EnrolmentError(.invalidAnswer, "what the CA says of its own transport cannot be used: \(fault)")
    }

    /// What is wrong with it, in a few words; nil where nothing is.
    var fault: String? {
        guard (1...Self.mostHosts).contains(hosts.count) else { return "it names \(hosts.count) addresses" }
        if let wrong = hosts.first(where: { !Self.isHost($0) }) { return "'\(wrong.prefix(80))' is no address and no host name" }
        guard (1...Self.mostSets).contains(sets.count) else { return "it names \(sets.count) keys" }
        for set in sets {
            guard (1...65_535).contains(set.port), (1...65_535).contains(set.registrarPort) else { return "a port is none" }
            guard Z85.decode(set.coreKey)?.count == 32, Z85.decode(set.registrarKey)?.count == 32 else { return "a CURVE key is none" }
        }
        return nil
    }

    /// Names go into endpoints: what could be read there as anything else is refused.
    private static func isHost(_ text: String) -> Bool {
        IPAddress.octets(text) != nil || (HostName.isHostName(text) && !text.contains("*"))
    }

    /// As libzmq writes it.
    public static func endpoint(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "tcp://[\(host)]:\(port)" : "tcp://\(host):\(port)"
    }

    /// For a person: `192.0.2.10:5000`.
    public static func place(_ host: String, _ port: Int) -> String { String(endpoint(host, port).dropFirst("tcp://".count)) }

    // MARK: JSON

    public var json: JSON { ["hosts": .array(hosts.map { .string($0) }), "keys": .array(sets.map(\.json))] }

    /// - Returns: nil where a member is missing or none.
    public init?(json: JSON) {
        guard let hosts = json["hosts"]?.arrayValue, let sets = json["keys"]?.arrayValue else { return nil }
        self.init(hosts: hosts.compactMap(\.stringValue), sets: sets.compactMap { KeySet(json: $0) })
        guard self.hosts.count == hosts.count, self.sets.count == sets.count, fault == nil else { return nil }
    }
}

extension ServerAddresses.KeySet {
    fileprivate init?(transport: JSON) {
        guard let port = transport["port"]?.integerValue, let registrarPort = transport["registrar_port"]?.integerValue,
            let coreKey = transport["core_key"]?.stringValue, let registrarKey = transport["registrar_key"]?.stringValue
        else { return nil }
        self.init(port: Int(clamping: port), registrarPort: Int(clamping: registrarPort), coreKey: coreKey, registrarKey: registrarKey)
    }

    fileprivate var json: JSON {
        [
            "port": .integer(port), "registrar_port": .integer(registrarPort), "core_key": .string(coreKey),
            "registrar_key": .string(registrarKey),
        ]
    }

    fileprivate init?(json: JSON) { self.init(transport: json) }
}
