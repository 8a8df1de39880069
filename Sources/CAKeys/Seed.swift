// The seed: the one secret from which a CA's keys and registration tokens follow.

/// A seed that passed the rules of docs/SEED.md.
public struct Seed: Sendable, CustomStringConvertible, CustomReflectable {
    /// The least number of bytes of a seed.
    public static let minimumBytes = 16
    /// The least number of different characters (Unicode scalars) in a seed.
    public static let minimumDifferentCharacters = 10

    let bytes: SecretBytes

    /// Takes a seed as it was read from a file, a pipe, a credential or the environment.
    ///
    /// One trailing line feed is removed; all else is taken as it is, spaces and carriage returns too.
    ///
    /// - Parameters:
    ///   - input: UTF-8 without NUL.
    ///   - allowWeak: accept a short or uniform seed (`--weak-seed`); an empty one is refused even so.
    /// - Throws: ``KeyError``: `.invalidSeed`, `.weakSeed`. No message holds a part of the seed.
    public init(_ input: some Collection<UInt8>, allowWeak: Bool = false) throws {
        let newline = UInt8(ascii: "\n")
        let count = input.count
        let endsInNewline = count > 0 && input[input.index(input.startIndex, offsetBy: count - 1)] == newline
        let bytes = SecretBytes(input.prefix(endsInNewline ? count - 1 : count))
        func weak(_ finding: String) -> KeyError {
            KeyError(.weakSeed, "\(finding): give a better one, or none and init makes one (--weak-seed for experiments)")
        }
        guard bytes.count > 0 else { throw KeyError(.invalidSeed, "The seed is empty: give one, or none at all and init makes one") }
        try bytes.withUnsafeBytes { bytes in
            guard !bytes.contains(0) else {
                throw KeyError(.invalidSeed, "The seed holds a NUL byte: give it as text, for instance base64")
            }
            guard let different = Self.differentCharacters(bytes) else {
                throw KeyError(.invalidSeed, "The seed is not UTF-8: give it as text, for instance base64")
            }
            if allowWeak { return }
            guard bytes.count >= Self.minimumBytes else {
                throw weak("The seed has fewer than \(Self.minimumBytes) bytes")
            }
            guard different >= Self.minimumDifferentCharacters else {
                throw weak("The seed has fewer than \(Self.minimumDifferentCharacters) different characters")
            }
        }
        self.bytes = bytes
    }

    /// Takes a seed that is text already.
    ///
    /// - Throws: ``KeyError``, as ``init(_:allowWeak:)``.
    public init(text: String, allowWeak: Bool = false) throws {
        try self.init(Array(text.utf8), allowWeak: allowWeak)
    }

    /// A new seed: 32 random bytes as base64url. That text, not the bytes, is the seed.
    ///
    /// - Throws: ``KeyError`` if the system gives no random bytes.
    public static func random() throws -> Seed {
        // 43 characters hold fewer than ten different ones about once in 10²⁰ draws; then the next draw is taken.
        while true {
            let text = base64URL(try SecretBytes.random(count: 32))
            if let seed = try? Seed(text: text) { return seed }
        }
    }

    /// The seed in clear, to be printed once by `init`; a string cannot be wiped.
    public func revealed() -> String {
        bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    public var description: String { "Seed(hidden)" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }

    /// How many different Unicode scalars the bytes hold, counted no further than needed; nil if they are not UTF-8.
    private static func differentCharacters(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        var seen: Set<Unicode.Scalar> = []
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar): if seen.count < minimumDifferentCharacters { seen.insert(scalar) }
            case .emptyInput: return seen.count
            case .error: return nil
            }
        }
    }
}
