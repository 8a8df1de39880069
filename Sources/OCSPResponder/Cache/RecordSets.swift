// A table of fixed size for small records: sets of eight places, memory that the kernel gives as it is first touched.
import Glibc
internal import RevocationFormats

/// What a table holds. A record of zero bytes is an empty place, so its parts are numbers only.
protocol PlacedRecord: Sendable {
    var serial: OCSPSerial { get }
    var place: PlaceMark { get set }
}

/// What is known of a place in a table.
struct PlaceMark: Sendable {
    /// 0 empty, 1 taken, 3 taken and asked for since the last search for room.
    private var bits: UInt8 = 0

    static let taken = PlaceMark(bits: 1)

    private init(bits: UInt8) { self.bits = bits }

    var isEmpty: Bool { bits == 0 }
    var wasUsed: Bool {
        get { bits == 3 }
        set { bits = newValue ? 3 : 1 }
    }

    mutating func clear() { bits = 0 }
}

/// Records by serial number. A record is found in one of the eight places of its set or is not there; where a set is full, one that was
/// not asked for lately makes room. It never grows, and costs memory only where it was written.
struct RecordSets<Record: PlacedRecord>: ~Copyable {
    static var ways: Int { 8 }

    private let records: UnsafeMutablePointer<Record>
    private let sets: Int

    /// - Parameter bytes: what it may take; at least one set is made.
    /// - Throws: `.system` where there is no memory.
    init(bytes: Int) throws(ResponderError) {
        let stride = MemoryLayout<Record>.stride
        sets = max(1, bytes / (stride * Self.ways))
        guard let memory = calloc(sets * Self.ways, stride) else {
            throw ResponderError(.system, "there is no memory for a cache of \(bytes) bytes: choose a smaller one with --cache")
        }
        records = memory.bindMemory(to: Record.self, capacity: sets * Self.ways)
    }

    deinit { free(records) }

    var bytes: Int { sets * Self.ways * MemoryLayout<Record>.stride }

    /// The first of the eight places for a hash.
    private func set(_ hash: UInt64) -> UnsafeMutablePointer<Record> {
        // The high half of hash · sets is below sets, so the places lie within the memory of sets · ways records.
        records + Int(truncatingIfNeeded: hash.multipliedFullWidth(by: UInt64(sets)).high) * Self.ways
    }

    /// The record that fits, to read or change in place.
    func find(_ hash: UInt64, where fits: (borrowing Record) -> Bool) -> UnsafeMutablePointer<Record>? {
        let places = set(hash)
        for way in 0..<Self.ways where !places[way].place.isEmpty && fits(places[way]) { return places + way }
        return nil
    }

    /// Empties every place whose record fits; returns how many.
    func remove(_ hash: UInt64, where fits: (borrowing Record) -> Bool) -> Int {
        let places = set(hash)
        var removed = 0
        for way in 0..<Self.ways where !places[way].place.isEmpty && fits(places[way]) {
            places[way].place.clear()
            removed += 1
        }
        return removed
    }

    /// What a record had to make room for.
    enum Displaced { case nothing, dead, living }

    /// Writes a record into a place: the one whose record it replaces, an empty one, that of a dead record, or that of one not asked for lately.
    func put(
        _ record: Record, _ hash: UInt64, replacing fits: (borrowing Record) -> Bool, dead: (borrowing Record) -> Bool
    ) -> (displaced: Displaced, replaced: Bool) {
        let places = set(hash)
        var free: Int?
        var deadWay: Int?
        for way in 0..<Self.ways {
            if places[way].place.isEmpty {
                free = free ?? way
            } else if fits(places[way]) {
                let wasDead = dead(places[way])
                places[way] = record
                return (wasDead ? .dead : .nothing, !wasDead)
            } else if deadWay == nil, dead(places[way]) {
                deadWay = way
            }
        }
        if let way = free ?? deadWay {
            places[way] = record
            return (free == nil ? .dead : .nothing, false)
        }
        places[victim(places, hash)] = record
        return (.living, false)
    }

    /// A place whose record was not asked for since the last time; where all were, each gets its next chance and one goes.
    private func victim(_ places: UnsafeMutablePointer<Record>, _ hash: UInt64) -> Int {
        let start = Int(truncatingIfNeeded: hash & 7)
        for offset in 0..<Self.ways {
            let way = (start + offset) & (Self.ways - 1)
            if !places[way].place.wasUsed { return way }
        }
        for way in 0..<Self.ways { places[way].place.wasUsed = false }
        return start
    }
}
