// curve.keys: the long-term CURVE keys of ports 5000 and 5001, and the next ones while keys are exchanged.

import CAKeys
import DurableFiles
import PKI
import ZeroMQ

/// The CURVE keys of a CA.
///
/// The file has one line for each key: the port's name in the derivation, the key's number, the secret in hexadecimal; of a next key also
/// the port on which it is had meanwhile.
struct CurveKeys: Sendable, Equatable {
    struct Key: Sendable, Equatable {
        let number: Int
        let pair: ZMQCurveKeyPair
    }

    /// The keys that come: both ports have theirs.
    struct Next: Sendable, Equatable {
        let core: Key
        let registrar: Key
        let port: Int
        let registrarPort: Int
    }

    var core: Key
    var registrar: Key
    var next: Next?

    static func path(_ directory: DataDirectory) -> String { directory.path + "/curve.keys" }

    init(core: Key, registrar: Key, next: Next? = nil) {
        self.core = core
        self.registrar = registrar
        self.next = next
    }

    /// - Throws: one line where the file is missing, others can read it, or it holds something else.
    init(reading directory: DataDirectory) throws {
        let path = Self.path(directory)
        var bytes: [UInt8]
        do { bytes = try PrivateFile.read(path, limit: 4_096) } catch {
            throw CoreError("\(error); restore curve.keys from a backup: nodes know this CA by these keys")
        }
        defer { wipe(&bytes) }
        try self.init(text: String(decoding: bytes, as: UTF8.self), path: path)
    }

    init(text: String, path: String) throws {
        var keys: [CurvePort: Key] = [:]
        var next: [CurvePort: (key: Key, port: Int)] = [:]
        for (index, line) in text.split(separator: "\n").enumerated() {
            let words = line.split(separator: " ")
            guard words.count == 3 || words.count == 4, let port = Int(words[0]).flatMap({ CurvePort(rawValue: $0) }),
                let number = Int(words[1]), number >= 0, let secret = Hexadecimal.decode(words[2]), secret.count == 32
            else { throw Self.malformed(path, line: index + 1) }
            let key = Key(number: number, pair: try ZMQCurveKeyPair(secret: secret))
            if words.count == 3 {
                guard keys.updateValue(key, forKey: port) == nil else { throw Self.malformed(path, line: index + 1) }
            } else {
                guard let place = Int(words[3]), (1...65_535).contains(place), next.updateValue((key, place), forKey: port) == nil else {
                    throw Self.malformed(path, line: index + 1)
                }
            }
        }
        guard let core = keys[.core], let registrar = keys[.registrar], next.isEmpty || next.count == 2 else {
            throw CoreError("\(path) does not hold the keys of both ports; restore it from a backup")
        }
        self.init(core: core, registrar: registrar)
        if let core = next[.core], let registrar = next[.registrar] {
            self.next = Next(core: core.key, registrar: registrar.key, port: core.port, registrarPort: registrar.port)
        }
    }

    private static func malformed(_ path: String, line: Int) -> CoreError {
        CoreError("\(path):\(line): a line is PORT NUMBER SECRET, as init wrote it; restore the file from a backup")
    }

    /// The file's text; it is a secret.
    var text: String {
        func line(_ port: CurvePort, _ key: Key, _ place: Int?) -> String {
            let secret = Hexadecimal.encode(Z85.decode(key.pair.secretKey) ?? [])
            return "\(port.rawValue) \(key.number) \(secret)\(place.map { " \($0)" } ?? "")\n"
        }
        var text = line(.core, self.core, nil) + line(.registrar, self.registrar, nil)
        if let next { text += line(.core, next.core, next.port) + line(.registrar, next.registrar, next.registrarPort) }
        return text
    }

    /// Writes the file anew, whole or not at all.
    func write(to directory: DataDirectory) throws {
        var bytes = Array(self.text.utf8)
        defer { wipe(&bytes) }
        try PrivateFile.write(bytes, to: Self.path(directory))
    }
}
