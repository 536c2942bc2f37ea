package verdict

import (
	"image/color"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

type drawnRow struct {
	row
	noticed [contestants]alarms
}

// least is where the scale of false alarms ends; none at all is drawn there.
const least = 0.01

// illustrate makes two charts side by side: what was found by when, and the false
// alarms by autocorrelation.
func illustrate(file string, rows []drawnRow) error {
	found := chart("0.1 % -> 1 % errors, 100 requests/min/side", "minutes", "found, %")
	found.Y.Min, found.Y.Max = 0, 100
	found.Y.Tick.Marker = ticks("0", "25", "50", "75", "100")
	found.X.Tick.Marker = ticks("0", "5", "10", "15", "20", "25", "30")
	alarming := chart("identical, 1,000 requests/min/side", "autocorrelation of a wander of 25 %", "failed within an hour, %")
	alarming.Y.Scale, alarming.Y.Tick.Marker = plot.LogScale{}, ticks("0.01", "0.1", "1", "10", "100")
	alarming.Y.Min, alarming.Y.Max = least, 100
	alarming.X.Tick.Marker = ticks("0", "0.5", "0.8")
	for i, name := range names() {
		var by, failed plotter.XYs
		for _, r := range rows {
			if r.world.times == 1 {
				failed = append(failed, plotter.XY{X: r.world.correlation, Y: max(least, r.noticed[i].percent())})
				continue
			}
			for minute := range r.minutes + 1 {
				by = append(by, plotter.XY{X: float64(minute), Y: r.noticed[i].by(minute)})
			}
		}
		for _, in := range []struct {
			chart  *plot.Plot
			points plotter.XYs
		}{{found, by}, {alarming, failed}} {
			line, err := plotter.NewLine(in.points)
			if err != nil {
				return err
			}
			line.Color, line.Width = colours()[i], vg.Points(2)
			in.chart.Add(line)
			if in.chart == alarming {
				in.chart.Legend.Add(name, line)
			}
		}
	}
	return save(file, found, alarming)
}

func chart(title, x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(6)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = vg.Points(12), vg.Points(-50), vg.Points(2)
	p.Add(plotter.NewGrid())
	return p
}

// ticks are at the values that their labels say.
func ticks(labels ...string) plot.ConstantTicks {
	var out plot.ConstantTicks
	for _, l := range labels {
		value, err := strconv.ParseFloat(l, 64)
		if err == nil {
			out = append(out, plot.Tick{Value: value, Label: l})
		}
	}
	return out
}

// colours are told apart by the colour-blind too (Okabe and Ito).
func colours() [contestants]color.Color {
	return [...]color.Color{
		color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
	}
}

func save(file string, charts ...*plot.Plot) (err error) {
	width, height := vg.Points(720), vg.Points(280)
	canvas := vgsvg.New(width, height)
	tiles := vgdraw.Tiles{Rows: 1, Cols: len(charts), PadX: vg.Points(18), PadTop: vg.Points(8), PadBottom: vg.Points(8), PadLeft: vg.Points(8), PadRight: vg.Points(12)}
	for i, p := range charts {
		p.Draw(tiles.At(vgdraw.New(canvas), i, 0))
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if closing := f.Close(); err == nil {
			err = closing
		}
	}()
	_, err = canvas.WriteTo(f)
	return err
}
